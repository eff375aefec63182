"""Odd values through a real client: the stream stays intact, and nobody's secrets travel in it."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from dockrion_events import EventTooLarge, NotSerialisable

from .conftest import Live, Serve


async def repeat(payload: dict[str, Any], context: Any) -> Any:
    for item in payload["items"]:
        await context.emit("item", item)
    return payload["items"]


ODD_TEXTS = [
    "a\rb",
    "a\nb",
    "a\r\nb",
    "\u2028\u2029",
    "\ufeffbom",
    "\x00nul",
    "data: x\n\nevent: y",
    ":",
    "😀",
    "",
]


def test_odd_texts_arrive_as_they_were(serve: Serve) -> None:
    events = serve(repeat).events({"items": ODD_TEXTS})
    assert [event["data"] for event in events[1:-1]] == ODD_TEXTS
    assert events[-1]["output"] == ODD_TEXTS


@pytest.fixture(scope="module")
def json_values() -> Any:
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False)
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    )


def test_any_json_survives_the_way_out(serve: Serve, json_values: Any) -> None:
    live: Live = serve(repeat)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(json_values, max_size=5))
    def check(items: list[Any]) -> None:
        events = live.events({"items": items})
        assert [event["data"] for event in events[1:-1]] == [{} if i is None else i for i in items]
        assert [event["sequence"] for event in events] == list(range(1, len(items) + 3))

    check()


class Opaque:
    def __repr__(self) -> str:
        raise RuntimeError("no repr either")


def test_what_json_has_no_form_for_is_converted(serve: Serve) -> None:
    async def odd(payload: dict[str, Any], context: Any) -> Any:
        await context.emit("nan", [math.nan, math.inf])
        await context.emit("surrogate", "a\ud800b")
        await context.emit("numpy", {"scalar": np.float32(0.5), "array": np.arange(3)})
        await context.emit("path", Path("a/b"))
        await context.emit("keys", {(1, 2): "tuple", 3: "int"})
        await context.emit("opaque", Opaque())
        return {"message": HumanMessage("hi"), "error": ValueError("bad"), "set": {1}}

    events = serve(odd).events()
    data = {event["type"]: event.get("data") for event in events}
    assert data["custom:nan"] == [None, None]
    assert data["custom:surrogate"] == "a\ufffdb"
    assert data["custom:numpy"] == {"scalar": 0.5, "array": [0, 1, 2]}
    assert data["custom:path"] == "a/b"
    assert set(data["custom:keys"].values()) == {"tuple", "int"}
    assert data["custom:opaque"]["type"].endswith("Opaque")
    output = events[-1]["output"]
    assert output["message"]["content"] == "hi"
    assert output["error"] == {"type": "ValueError", "message": "bad"}
    assert output["set"] == [1]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_what_cannot_be_sent_is_raised_where_it_was_emitted(serve: Serve) -> None:
    def bad(payload: dict[str, Any], context: Any) -> list[str]:
        cycle: list[Any] = []
        cycle.append(cycle)
        raised = []
        for value, expected in [
            (cycle, NotSerialisable),
            (nested(501), EventTooLarge),
            ("x" * 50_000_000, EventTooLarge),
        ]:
            with pytest.raises(expected) as caught:
                context.sync_emit("bad", value=value)
            raised.append(type(caught.value).__name__)
        context.sync_emit("good", nested(499))
        return raised

    events = serve(bad).events()
    assert [event["type"] for event in events] == ["started", "custom:good", "complete"]
    assert events[-1]["output"] == ["NotSerialisable", "EventTooLarge", "EventTooLarge"]


def test_later_mutation_changes_nothing(serve: Serve) -> None:
    async def mutating(payload: dict[str, Any], context: Any) -> None:
        data = {"n": 0}
        for n in range(5):
            data["n"] = n
            await context.emit("n", data)
        data["n"] = 99

    events = serve(mutating).events()
    assert [event["data"]["n"] for event in events[1:-1]] == [0, 1, 2, 3, 4]


CANARIES = {
    "MODEL_KEY": "canary-required-5f1d",
    "OTHER_KEY": "canary-optional-77aa",
    "DOCKRION_API_KEY": "ops:canary-apikey-91c3",
}


def test_no_secret_reaches_a_client_or_a_message(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def leaking(payload: dict[str, Any]) -> None:
        raise RuntimeError(f"cannot reach https://u:{CANARIES['MODEL_KEY']}@host and {CANARIES['OTHER_KEY']}")

    live = serve(
        leaking,
        env=CANARIES,
        auth={"mode": "api_key"},
        secrets={"required": [{"name": "MODEL_KEY"}], "optional": [{"name": "OTHER_KEY"}]},
    )
    headers = {"X-API-Key": "canary-apikey-91c3"}
    seen = []
    with caplog.at_level(logging.DEBUG):
        seen.append(live.post("/invoke", headers=headers).text)
        seen.append(json.dumps(live.events(headers=headers)))
        paths = ("/info", "/schema", "/ready", "/health", "/docs", "/docs/openapi.json")
        seen.extend(live.get(path, headers=headers).text for path in paths)
        seen.append(live.post("/invoke", headers={"X-API-Key": "wrong"}).text)
    assert "***" in seen[0]
    assert "***" in seen[1]
    for text in seen:
        assert "canary" not in text
    assert "Traceback" in caplog.text
    assert "canary" not in caplog.text


def test_secrets_that_no_dockfile_names_are_told_by_their_variables(serve: Serve) -> None:
    env = {
        "OPENAI_API_KEY": "canary-key-5f1d",
        "github_token": "canary-token-77aa",
        "PASSWORD": "canary-password-91c3",
        "SORT_KEY": "name",  # an ordinary word
        "KEYBOARD": "qwertyuiop",
    }

    async def leaking(payload: dict[str, Any]) -> None:
        raise RuntimeError(" ".join(env.values()))

    error = serve(leaking, env=env, expose={"errors": "full"}).events()[-1]["error"]
    assert error == "RuntimeError: *** *** *** name qwertyuiop"
