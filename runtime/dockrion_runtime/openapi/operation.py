"""What a route takes and gives, in OpenAPI's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias

import msgspec
from litestar.openapi.spec import (
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)

from dockrion_sdk import Dockfile

from ..problems import PROBLEM_JSON, title_of
from .schemas import COMPONENTS

Refusals: TypeAlias = Mapping[int, Sequence[str]]
"""The codes of problems by their status; with `ANY_CODE`, others are possible."""

Headers: TypeAlias = dict[str, OpenAPIHeader | Reference]

ANY_CODE: Final = "…"
"""Stands for the codes of the agent's own."""

_EVERYWHERE: Final = {
    403: ("ORIGIN_NOT_ALLOWED",),
    421: ("HOST_NOT_ALLOWED",),
    500: ("INTERNAL_ERROR",),
}
_WHEN_TO_RETURN: Final = (429, 503)


class JSONSchema(Schema):
    """A JSON Schema as it is; Litestar's own class knows some of the keywords, and drops each null."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__()
        self._document = document

    def to_schema(self) -> dict[str, Any]:
        return self._document


def parameter(
    name: str,
    description: str,
    schema: dict[str, Any],
    *,
    place: Literal["query", "header", "path"] = "query",
) -> Parameter:
    """Return a parameter; those of the path are required, all others may be left out."""
    return Parameter(
        name=name,
        param_in=place,
        description=description,
        schema=JSONSchema(schema),
        required=place == "path",
    )


def header(description: str, schema: dict[str, Any] | None = None, *, required: bool = True) -> OpenAPIHeader:
    """Return a header of an answer; one that is ``required`` is always there."""
    return OpenAPIHeader(
        description=description, schema=JSONSchema(schema or {"type": "string"}), required=required
    )


def reference(component: str | type[msgspec.Struct]) -> Reference:
    """Return a reference to a component of `schemas`."""
    return Reference(ref=COMPONENTS + (component if isinstance(component, str) else component.__name__))


def answer(
    component: str | type[msgspec.Struct],
    description: str,
    headers: Headers | None = None,
) -> OpenAPIResponse:
    """Return an answer in JSON."""
    content = {"application/json": OpenAPIMediaType(schema=reference(component))}
    return OpenAPIResponse(description=description, content=content, headers=headers)


def stream(component: str, description: str, headers: Headers | None = None) -> OpenAPIResponse:
    """Return an answer in Server-Sent Events; the schema is that of each of them, as is the custom."""
    content = {"text/event-stream": OpenAPIMediaType(schema=reference(component))}
    return OpenAPIResponse(description=description, content=content, headers=headers)


def text(media_type: str, description: str) -> OpenAPIResponse:
    """Return an answer in plain text of some form."""
    content = {media_type: OpenAPIMediaType(schema=JSONSchema({"type": "string"}))}
    return OpenAPIResponse(description=description, content=content)


def nothing(description: str) -> OpenAPIResponse:
    """Return an answer without a body."""
    return OpenAPIResponse(description=description)


class Describer:
    """Makes the ``operation_class`` of routes, given what the Dockfile says of all of them.

    ``checked`` says whether payloads are held against a schema, or checked by the agent's framework.
    """

    def __init__(self, dockfile: Dockfile, *, checked: bool = False) -> None:
        self._auth = dockfile.auth
        self._checked = checked

    def __call__(
        self,
        answers: Mapping[int, OpenAPIResponse],
        *,
        parameters: Sequence[Parameter] = (),
        body: RequestBody | None = None,
        refusals: Refusals | None = None,
        open_to_all: bool = False,
    ) -> type[Operation]:
        """Return what Litestar takes to describe one operation.

        401 is added where a key is needed; 403, 421 and 500 everywhere.
        """
        refused: dict[int, Sequence[str]] = {**_EVERYWHERE, **(refusals or {})}
        secured = self._auth.mode != "none" and not open_to_all
        if secured:
            refused[401] = ("UNAUTHORIZED",)
        responses = {str(status): given for status, given in answers.items()}
        for status in sorted(refused):
            responses.setdefault(str(status), self._refusal(status, refused[status]))

        @dataclass
        class Described(Operation):
            def __post_init__(self) -> None:
                self.parameters = list(parameters) or None
                self.request_body = body
                self.responses = dict(sorted(responses.items()))
                if open_to_all:
                    self.security = []

        return Described

    def payload(self) -> RequestBody:
        """Return the body of a route that executes the agent."""
        return RequestBody(
            content={"application/json": OpenAPIMediaType(schema=reference("Payload"))},
            description="The agent's payload itself.",
            required=True,
        )

    def refusals_of_payload(self) -> dict[int, tuple[str, ...]]:
        """Return how a payload can be refused."""
        refused: dict[int, tuple[str, ...]] = {
            400: ("INVALID_REQUEST_ID", "INVALID_JSON", "NOT_AN_OBJECT"),
            408: ("BODY_TIMEOUT",),
            413: ("BODY_TOO_LARGE", "TOO_MANY_VALUES"),
            415: ("UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_ENCODING"),
        }
        if self._checked:
            refused[422] = ("INVALID_INPUT", "VALIDATION_TIMEOUT")
        return refused

    def _refusal(self, status: int, codes: Sequence[str]) -> OpenAPIResponse:
        schema: dict[str, Any] = {"$ref": COMPONENTS + "ProblemDocument"}
        told = ", ".join(f"`{code}`" for code in codes if code != ANY_CODE)
        narrowed: dict[str, Any] = {"status": {"const": status}}
        if ANY_CODE not in codes:
            narrowed["code"] = {"enum": list(codes)}
        headers: Headers | None = None
        if status in _WHEN_TO_RETURN:
            seconds = {"type": "string", "pattern": "^[0-9]+$"}
            headers = {"Retry-After": header("Seconds after which to try again.", seconds)}
        elif status == HTTPStatus.UNAUTHORIZED:
            headers = {"WWW-Authenticate": header("How to authenticate.")}
        return OpenAPIResponse(
            description=f"{title_of(status)}: {told}",
            content={
                PROBLEM_JSON: OpenAPIMediaType(
                    schema=JSONSchema({"allOf": [schema, {"properties": narrowed}]}),
                )
            },
            headers=headers,
        )
