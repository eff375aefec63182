"""How much of a failure leaves the server: `expose.errors`, over each way that tells of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from .conftest import Live, Serve

SAID = "cannot open /srv/private.db"
KEYS = {"DOCKRION_API_KEY": "first-key-of-two"}
AUTH = {"X-API-Key": "first-key-of-two"}


async def broken(payload: dict[str, Any]) -> None:
    raise LookupError(SAID)


def told(live: Live, headers: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the problem of an invocation, and the error event of a stream."""
    return live.post("/invoke", headers=headers).json(), live.events(headers=headers)[-1]


def test_without_keys_a_client_gets_the_type_and_the_id(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="dockrion"):
        problem, event = told(serve(broken), {})
    ids = (problem["request_id"], event["request_id"])
    for text, request_id in zip((problem["detail"], event["error"]), ids, strict=True):
        assert text == f"LookupError; the server's log has the details, under request {request_id}"
        logged = [record.getMessage() for record in caplog.records if request_id in record.getMessage()]
        assert any(SAID in line and "Traceback" in line for line in logged)
    assert event["details"] == {"exception": "LookupError"}


def test_with_keys_a_client_gets_the_message(serve: Serve) -> None:
    problem, event = told(serve(broken, env=KEYS, auth={"mode": "api_key"}), AUTH)
    assert problem["detail"] == event["error"] == f"LookupError: {SAID}"


def test_keys_and_less_text(serve: Serve) -> None:
    live = serve(broken, env=KEYS, auth={"mode": "api_key"}, expose={"errors": "none"})
    problem, event = told(live, AUTH)
    for text in (problem["detail"], event["error"]):
        assert text.startswith("the agent failed; the server's log has the details, under request ")
    assert problem["code"] == event["code"] == "AGENT_ERROR"
    assert "details" not in event


def test_an_output_that_does_not_fit_is_not_shown(serve: Serve) -> None:
    schema = {"output": {"type": "object"}, "strict": True}
    live = serve(lambda payload: SAID, io_schema=schema)
    problem, event = told(live, {})
    for text in (problem["detail"], event["error"]):
        assert text.startswith("the agent's output cannot be sent; the server's log has the details")
    assert problem["code"] == event["code"] == "OUTPUT_INVALID"


@pytest.mark.parametrize(
    ("errors", "said"), [("full", SAID), ("type", "LookupError"), ("none", "the tool failed")]
)
def test_the_failure_of_a_tool_that_the_agent_handles(serve: Serve, errors: str, said: str) -> None:
    @tool
    def look_up(what: str) -> str:
        """Look something up."""
        raise LookupError(SAID)

    call = {"name": "look_up", "args": {"what": "x"}, "id": "1", "type": "tool_call"}
    chain = RunnableLambda(lambda _: call) | look_up.with_fallbacks([RunnableLambda(lambda _: "as a guess")])
    live = serve(chain, framework="langchain", expose={"errors": errors})
    events = live.events()
    assert [(event["content"], event["error"]) for event in events if event["type"] == "tool_result"] == [
        (said, True)
    ]
    assert events[-1]["output"] == "as a guess"
