"""docs/http-api.md names what the OpenAPI document of a server with everything has."""

from __future__ import annotations

import re
from typing import Any

from dockrion_runtime import create_app

from ..servers.live import agent_module, dockfile
from .blocks import ROOT

PAGE = (ROOT / "docs" / "http-api.md").read_text()
SECTIONS = {"auth": {"mode": "api_key"}, "io_schema": {"input": {}}, "streaming": {"async_runs": True}}


def document(**more: Any) -> dict[str, Any]:
    module = agent_module(agent=lambda payload: payload)
    app = create_app(
        dockfile({"handler": f"{module}:agent"}, {**SECTIONS, **more}), env={"DOCKRION_API_KEY": "key"}
    )
    return app.openapi_schema.to_schema()


def test_every_route_and_parameter_is_there() -> None:
    for path, item in document(expose={"protocols": ["a2a"]})["paths"].items():
        for method, operation in item.items():
            assert f"`{method.upper()} {path}`" in PAGE
            for parameter in operation.get("parameters", ()):
                if parameter["in"] != "path":
                    assert re.search(rf"`\??{parameter['name']}\b", PAGE), parameter["name"]


def test_every_code_is_there_with_its_status() -> None:
    rows = dict(re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.M))
    for restricted in ({}, {"allow_client_ids": False}):
        for item in document(streaming={"async_runs": True, **restricted})["paths"].values():
            for operation in item.values():
                for status, answer in operation["responses"].items():
                    if int(status) >= 400 and "problem" in str(answer.get("content", {}).keys()):
                        for code in re.findall(r"`([A-Z_]+)`", answer["description"]):
                            assert f"`{code}`" in rows[status]


def test_the_answers_of_each_section_are_those_of_its_route() -> None:
    described = document()["paths"]
    sections = re.findall(r"^### `(\w+) (\S+)`\n(.*?)(?=^##)", PAGE, re.M | re.S)
    assert len(sections) == 8
    for method, path, text in sections:
        told = re.search(r"Answers: (.*?)(?:\.$|\.\n)", text, re.S)
        assert told is not None, path
        found = set(re.findall(r"\b[2-5]\d\d\b", told[1]))
        assert found == set(described[path][method.lower()]["responses"]), path
