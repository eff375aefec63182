"""What each example's Dockfile.yaml promises about its agent is true of the bare agent."""

import asyncio
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

EXAMPLES = Path(__file__).parents[2] / "examples"

PAYLOADS: dict[str, dict[str, Any]] = {
    "ask_docs": {"query": "What is a run?"},
    "custom_events": {"order_id": "A-1", "amount": 12.5, "card_country": "NL", "ship_country": "NL"},
    "handler_progress": {"text": "One short sentence."},
    "redis_cluster_of_servers": {"steps": 2, "pause": 0},
}


def test_every_example_is_covered() -> None:
    assert sorted(path.parent.name for path in EXAMPLES.glob("*/Dockfile.yaml")) == sorted(PAYLOADS)


@pytest.mark.parametrize("name", PAYLOADS)
def test_dockfile_matches_its_agent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / name)
    monkeypatch.delenv("ASK_DOCS_FOLDER", raising=False)
    monkeypatch.delenv("DOCKRION_MODEL", raising=False)
    dockfile = YAML(typ="safe").load(EXAMPLES / name / "Dockfile.yaml")
    agent, schemas = dockfile["agent"], dockfile["io_schema"]
    payload = PAYLOADS[name]
    Draft202012Validator(schemas["input"]).validate(payload)

    module, _, attribute = agent.get("handler", agent.get("entrypoint")).partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if "handler" in agent:
        output = target(payload)
        if inspect.iscoroutine(output):
            output = asyncio.run(output)
    else:
        graph = target()
        wanted = graph.get_input_jsonschema()
        assert set(wanted["properties"]) == set(schemas["input"]["properties"])
        assert set(wanted["required"]) == set(schemas["input"]["required"])
        output = graph.invoke(payload)
    if "output" in schemas:
        Draft202012Validator(schemas["output"]).validate(output)


@pytest.mark.parametrize("name", PAYLOADS)
def test_readme_names_the_commands(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text()
    assert f"cd examples/{name}\ndockrion run\ncurl -N -X POST localhost:8080/invoke/stream" in readme
