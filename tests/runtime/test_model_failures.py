"""Failures of models: a code by which a client can act, read from what the providers' packages raise.

The exceptions below have the names, modules and attributes that those packages give theirs; httpx's, and
what a chat model raises within LangChain, are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel

from dockrion_runtime.failures import failure_text
from dockrion_runtime.model_failures import MODEL_CODES, ModelFailure, model_failure
from dockrion_runtime.redaction import Redactor

from .conftest import Serve


def raised_by(module: str, *names: str, text: str = "it failed", **about: Any) -> Exception:
    """Return an exception whose classes, the outermost first, are called so in ``module``."""
    kind: Any = Exception
    for name in reversed(names):
        kind = type(name, (kind,), {"__module__": module})
    error = kind(text)
    for name, value in about.items():
        setattr(error, name, value)
    return error


def asked(status: int, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(status_code=status, headers=named)


def boto(code: str, status: int, operation: str = "Converse") -> Exception:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}}
    about = {"response": response, "operation_name": operation}
    return raised_by("botocore.exceptions", code, "ClientError", **about)


def refused_by_httpx(status: int, url: str) -> Exception:
    response = httpx.Response(status, request=httpx.Request("POST", url))
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        return error
    raise AssertionError


CHAT = "http://models.internal/v1/chat/completions"
OPENAI = ("APIStatusError", "APIError", "OpenAIError")
FAILURES: list[tuple[str, Exception]] = [
    ("MODEL_AUTH", raised_by("openai", "AuthenticationError", *OPENAI, status_code=401)),
    ("MODEL_AUTH", raised_by("openai", "OpenAIError", text="The api_key client option must be set")),
    ("MODEL_AUTH", raised_by("anthropic", "PermissionDeniedError", status_code=403)),
    ("MODEL_AUTH", raised_by("google.genai.errors", "ClientError", code=401, status="UNAUTHENTICATED")),
    ("MODEL_AUTH", raised_by("google.genai.errors", "ClientError", code=400, text="API key not valid.")),
    ("MODEL_AUTH", boto("AccessDeniedException", 403)),
    ("MODEL_AUTH", boto("UnrecognizedClientException", 400, "InvokeModel")),
    ("MODEL_AUTH", refused_by_httpx(401, CHAT)),
    ("MODEL_RATE_LIMITED", raised_by("openai", "RateLimitError", *OPENAI, status_code=429)),
    ("MODEL_RATE_LIMITED", raised_by("groq", "RateLimitError", status_code=429)),
    ("MODEL_RATE_LIMITED", raised_by("litellm.exceptions", "RateLimitError", status_code=429)),
    ("MODEL_RATE_LIMITED", raised_by("cohere.errors.too_many_requests_error", "TooManyRequestsError")),
    ("MODEL_RATE_LIMITED", raised_by("mistralai.models.sdkerror", "SDKError", status_code=429)),
    ("MODEL_RATE_LIMITED", raised_by("google.genai.errors", "ClientError", status="RESOURCE_EXHAUSTED")),
    ("MODEL_RATE_LIMITED", boto("ThrottlingException", 429)),
    ("MODEL_RATE_LIMITED", boto("ServiceQuotaExceededException", 400)),
    ("CONTEXT_TOO_LONG", raised_by("openai", "BadRequestError", code="context_length_exceeded")),
    ("CONTEXT_TOO_LONG", raised_by("anthropic", "BadRequestError", text="prompt is too long: 9")),
    ("CONTEXT_TOO_LONG", raised_by("litellm.exceptions", "ContextWindowExceededError", "BadRequestError")),
    ("CONTEXT_TOO_LONG", raised_by("google.genai.errors", "ClientError", code=400,
                                   text="The input token count (9) exceeds the maximum number of tokens")),
    ("CONTEXT_TOO_LONG", raised_by("langchain_core.exceptions", "ContextOverflowError")),
    ("MODEL_TIMEOUT", raised_by("openai", "APITimeoutError", "APIConnectionError", "APIError")),
    ("MODEL_TIMEOUT", raised_by("anthropic", "InternalServerError", status_code=504)),
    ("MODEL_TIMEOUT", boto("ModelTimeoutException", 408)),
    ("MODEL_TIMEOUT", httpx.ReadTimeout("late", request=httpx.Request("POST", CHAT))),
    ("MODEL_UNAVAILABLE", raised_by("openai", "InternalServerError", *OPENAI, status_code=500)),
    ("MODEL_UNAVAILABLE", raised_by("anthropic", "OverloadedError", status_code=529)),
    ("MODEL_UNAVAILABLE", raised_by("google.genai.errors", "ServerError", "APIError", code=503)),
    ("MODEL_UNAVAILABLE", raised_by("ollama", "ResponseError", status_code=502)),
    ("MODEL_UNAVAILABLE", httpx.ConnectError("refused", request=httpx.Request("POST", CHAT))),
    ("MODEL_REFUSED_REQUEST", raised_by("openai", "BadRequestError", *OPENAI, status_code=400)),
    ("MODEL_REFUSED_REQUEST", raised_by("openai", "ContentFilterFinishReasonError", "OpenAIError")),
    ("MODEL_REFUSED_REQUEST", raised_by("anthropic", "NotFoundError", status_code=404)),
    ("MODEL_REFUSED_REQUEST", raised_by("langchain_google_genai.chat_models", "ChatGoogleGenerativeAIError",
                                        status_code=400)),
    ("MODEL_REFUSED_REQUEST", boto("ValidationException", 400)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "error"), FAILURES, ids=[f"{c} {type(e).__name__}" for c, e in FAILURES])
def test_what_a_providers_package_raises_has_a_code(code: str, error: Exception) -> None:
    assert code in MODEL_CODES
    assert model_failure(error) == ModelFailure(code, None)
    wrapped = RuntimeError("the node failed")
    wrapped.__cause__ = error
    for around in (wrapped, ExceptionGroup("g", [ValueError("x"), ExceptionGroup("h", [wrapped])])):
        assert model_failure(around) == ModelFailure(code, None)


class Unfriendly(Exception):
    @property
    def status_code(self) -> int:
        raise RuntimeError("no status")


def cycle() -> Exception:
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__cause__ = other, one
    return one


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no luck"),
        TimeoutError("a lock"),
        ConnectionError("a database"),
        raised_by("my_agent", "RateLimitError", status_code=429),  # of a service that the agent itself asks
        raised_by("google.api_core.exceptions", "NotFound", code=404),  # a bucket, perhaps
        refused_by_httpx(401, "https://weather.example/today"),
        boto("AccessDenied", 403, "GetObject"),
        Unfriendly(),
        cycle(),
        ExceptionGroup("g", [ValueError("x")]),
    ],
    ids=repr,
)
def test_other_failures_are_the_agents_own(error: Exception) -> None:
    assert model_failure(error) is None


def test_what_a_models_own_client_raises_within_langchain() -> None:
    """The same exception of httpx is a model's where a chat model raised it."""

    class Remote(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "remote"

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise refused_by_httpx(429, "https://models.example/talk")

    with pytest.raises(httpx.HTTPStatusError) as raised:
        Remote().invoke("hi")
    assert model_failure(raised.value) == ModelFailure("MODEL_RATE_LIMITED", None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError("no answer"), "MODEL_TIMEOUT"),
        (ConnectionResetError("lost"), "MODEL_UNAVAILABLE"),
        (ValueError("api_key must be set"), "MODEL_AUTH"),
        (ModuleNotFoundError("no tokenizer"), None),
        (FileNotFoundError("prompt.txt"), None),
        (PermissionError("cache"), None),
        (KeyError("choices"), None),
    ],
    ids=repr,
)
def test_a_bug_within_a_call_of_a_model_is_no_refusal(error: Exception, code: str | None) -> None:
    class Buggy(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "buggy"

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise error

    with pytest.raises(type(error)) as raised:
        Buggy().invoke("hi")
    found = model_failure(raised.value)
    assert (found and found.code) == code


SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised_by("openai", "RateLimitError", status_code=429, response=asked(429, retry_after="7")), 7),
        (raised_by("openai", "RateLimitError", response=asked(429, retry_after_ms="1500")), 1.5),
        (raised_by("cohere.errors", "TooManyRequestsError", headers={"Retry-After": "3"}), 3),
        (raised_by("google.genai.errors", "ClientError", code=429, text="… 'retryDelay': '34.5s'"), 34.5),
        (raised_by("openai", "RateLimitError", response=asked(429, retry_after="soon")), None),
        (raised_by("openai", "RateLimitError", response=asked(429, retry_after="-5")), None),
        (raised_by("openai", "BadRequestError", response=asked(400, retry_after="7")), None),
    ],
)
def test_when_to_ask_again(error: Exception, expected: float | None) -> None:
    found = model_failure(error)
    assert found is not None
    assert found.retry_after == expected


def test_when_to_ask_again_as_a_date() -> None:
    found = model_failure(raised_by("openai", "RateLimitError", response=asked(429, retry_after=SOON)))
    assert found is not None
    assert found.retry_after is not None
    assert 0 <= found.retry_after <= 90


# -- over HTTP -------------------------------------------------------------------------------------


def limited() -> Exception:
    about = {"status_code": 429, "response": asked(429, retry_after="2.5")}
    return raised_by(
        "openai", "RateLimitError", text="Rate limit reached for sk-proj-abcdefghijklmnop", **about
    )


def failing(make: Callable[[], BaseException]) -> Any:
    async def agent(payload: dict[str, Any]) -> None:
        raise make()

    return agent


def test_a_client_learns_the_code_and_when_to_come_back_but_no_key(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    live = serve(failing(limited), expose={"errors": "full"})
    with caplog.at_level(logging.ERROR, logger="dockrion"):
        answer, event = live.post("/invoke"), live.events()[-1]
    assert (answer.status_code, answer.headers["retry-after"]) == (500, "3")
    assert answer.json()["code"] == event["code"] == "MODEL_RATE_LIMITED"
    assert event["details"] == {"exception": "RateLimitError", "retry_after": 2.5}
    assert event["error"] == "RateLimitError: Rate limit reached for ***"
    assert "abcdefghijklmnop" not in caplog.text + answer.text + json.dumps(event)


def test_a_group_names_its_causes(serve: Serve) -> None:
    async def work(number: int) -> None:
        if number == 1:
            raise LookupError("no such document")
        raise raised_by("openai", "AuthenticationError", status_code=401, text="bad key")

    async def agent(payload: dict[str, Any]) -> None:
        async with asyncio.TaskGroup() as group:
            for number in (1, 2):
                group.create_task(work(number))

    live = serve(agent, expose={"errors": "full"})
    expected = (
        "ExceptionGroup: unhandled errors in a TaskGroup: "
        "LookupError: no such document; AuthenticationError: bad key"
    )
    answer, event = live.post("/invoke").json(), live.events()[-1]
    assert answer["detail"] == event["error"] == expected
    assert answer["code"] == event["code"] == "MODEL_AUTH"


# -- texts -----------------------------------------------------------------------------------------


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


class RaisingText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


DEEP = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("a"), KeyError("k")]), OSError()])
MANY = ExceptionGroup("many", [ValueError(str(number)) for number in range(8)])
DOWN = raised_by("openai", "APIConnectionError", text="Connection error.")
TEXTS: list[tuple[BaseException, str]] = [
    (ValueError("no luck"), "ValueError: no luck"),
    (ValueError(), "ValueError"),
    (RaisingText(), "RaisingText"),
    (DEEP, "ExceptionGroup: outer: ValueError: a; KeyError: 'k'; OSError"),
    (MANY, "ExceptionGroup: many: " + "".join(f"ValueError: {n}; " for n in range(5)) + "and 3 more"),
    (ExceptionGroup("g", [ValueError("x" * 400)]), f"ExceptionGroup: g: {'ValueError: ' + 'x' * 288}…"),
    (caused(ValueError(), OSError("disk full")), "ValueError (caused by OSError: disk full)"),
    (caused(ValueError("sorry"), OSError("at /srv/db")), "ValueError: sorry"),  # what the agent wants known
    (caused(DOWN, OSError("refused")), "APIConnectionError: Connection error. (caused by OSError: refused)"),
]


@pytest.mark.parametrize(("error", "expected"), TEXTS)
def test_the_text_of_a_failure(error: BaseException, expected: str) -> None:
    assert failure_text(error, str) == expected


def test_no_part_of_a_secret_is_left_where_a_text_is_shortened() -> None:
    error = ExceptionGroup("g", [ValueError("x" * 285 + "a-secret-value")])
    assert "a-secret" not in failure_text(error, Redactor(["a-secret-value"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: sk-proj-Abc_123-456789.", "Incorrect API key provided: ***."),
        ("headers {'Authorization': 'Bearer abc.def-123=='}", "headers {'Authorization': 'Bearer ***'}"),
        ("key=AIzaSyA1234567890abcdefghijklmnopqrstuv&alt=sse", "key=***&alt=sse"),
        ("gsk_abcdefghijklmnopqrst, hf_abcdefghijklmnopqrst, AKIAABCDEFGHIJKLMNOP", "***, ***, ***"),
        ("risk-assessment-of-things, sk-short", "risk-assessment-of-things, sk-short"),
    ],
)  # fmt: skip
def test_keys_of_providers_are_redacted_by_their_form(text: str, expected: str) -> None:
    assert Redactor([])(text) == expected
