"""A real server, and its own OpenAPI document to hold its answers against."""

from __future__ import annotations

import json
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from ..servers.live import DEADLINE, Live, Serve, Store, module, serve, store

__all__ = ["DEADLINE", "Document", "Live", "Serve", "Store", "module", "serve", "store"]


class Document:
    """A server's document, and whether an answer is one that it describes."""

    def __init__(self, live: Live, headers: dict[str, str] | None = None) -> None:
        answer = live.get("/docs/openapi.json", headers=headers or {})
        assert answer.status_code == 200
        self.content: dict[str, Any] = json.loads(answer.content)
        resource = Resource.from_contents(self.content, default_specification=DRAFT202012)
        self._registry = Registry().with_resource("urn:document", resource)

    def operation(self, method: str, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.content["paths"][path][method.lower()]
        return found

    def holds(self, answer: httpx.Response, path: str, status: int, code: str | None = None) -> None:
        """Assert that this answer to ``path`` is expected, and described with its headers and its body."""
        assert answer.status_code == status, answer.text
        described = self.operation(answer.request.method, path)["responses"][str(status)]
        assert [name for name in described.get("headers", {}) if name not in answer.headers] == []
        if "content" not in described:
            assert answer.content == b""
            return
        media_type = answer.headers["content-type"].partition(";")[0]
        schema = described["content"][media_type]["schema"]
        body = json.loads(answer.content)
        self.validate(schema, body)
        if code is not None:
            assert body["code"] == code
            assert f"`{code}`" in described["description"]

    def validate(self, schema: dict[str, Any], value: Any) -> None:
        """Hold a value against a schema of the document."""
        Draft202012Validator(_absolute(schema), registry=self._registry).validate(value)


def _absolute(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_absolute(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: f"urn:document{item}" if key == "$ref" else _absolute(item) for key, item in schema.items()}
