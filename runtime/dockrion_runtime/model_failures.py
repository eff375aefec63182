"""Why a call of a model failed, read from the exception: a code, and when to ask again.

Providers' exceptions are recognised by their module, name and status; no provider's package is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Final, NamedTuple

MODEL_CODES: Final = (
    "MODEL_AUTH",
    "MODEL_RATE_LIMITED",
    "CONTEXT_TOO_LONG",
    "MODEL_TIMEOUT",
    "MODEL_UNAVAILABLE",
    "MODEL_REFUSED_REQUEST",
)
"""Codes of failures whose cause is a call of a model."""

_DEEPEST = 20  # failures within failures that are looked at


class ModelFailure(NamedTuple):
    """Why a call of a model failed. ``retry_after`` is in seconds, where the provider says."""

    code: str
    retry_after: float | None


def model_failure(error: BaseException) -> ModelFailure | None:
    """Return why a model failed, where that is what ``error`` comes from; None where it is not.

    Looks at the failure, at those within a group, and at what they were raised ``from``.
    """
    for one in _related(error):
        code = model_code(one)
        if code is not None:
            return ModelFailure(code, _retry_after(one) if code in _WORTH_RETRYING else None)
    return None


def _related(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _DEEPEST:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        if one.__cause__ is not None:
            waiting.append(one.__cause__)


_PROVIDERS: Final = frozenset(
    {
        "ai21", "anthropic", "cerebras", "cohere", "fireworks", "groq", "huggingface_hub", "ibm_watsonx_ai",
        "litellm", "mistralai", "ollama", "openai", "openrouter", "replicate", "together", "voyageai",
        "writerai", "xai_sdk", "zhipuai", "dashscope",
    }
)  # fmt: skip
"""Packages that do nothing but call models."""

_PROVIDERS_WITHIN: Final = (
    "azure.ai.inference", "cerebras.cloud", "google.ai.generativelanguage", "google.genai",
    "google.generativeai", "langchain_anthropic", "langchain_aws", "langchain_cerebras", "langchain_cohere",
    "langchain_core.exceptions", "langchain_deepseek", "langchain_fireworks", "langchain_google_genai",
    "langchain_google_vertexai", "langchain_groq", "langchain_huggingface", "langchain_mistralai",
    "langchain_nvidia_ai_endpoints", "langchain_ollama", "langchain_openai", "langchain_openrouter",
    "langchain_perplexity", "langchain_together", "langchain_xai", "vertexai",
)  # fmt: skip
_CALLING: Final = ("langchain_core.language_models.", "vertexai.", "google.cloud.aiplatform")
"""Modules whose frames in a traceback say that a model was called."""

_CLIENTS: Final = frozenset(
    {
        "aiohttp",
        "azure",
        "botocore",
        "builtins",
        "asyncio",
        "google",
        "grpc",
        "httpcore",
        "httpx",
        "requests",
        "urllib3",
    }
)
"""Packages that call anything: what they raise is a model's failure only where a model was called."""

_MODEL_PATH: Final = re.compile(
    r"/(chat/completions|completions|messages|responses|embeddings|api/(chat|generate)|converse(-stream)?)/?(\?|$)"
    r"|:(streamG|g)enerateContent|/model/[^/]+/invoke"
)
_MODEL_OPERATIONS: Final = frozenset(
    {"InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream", "InvokeEndpoint"}
)
_TOO_LONG: Final = re.compile(
    r"context[_ ]length|maximum context|context[_ ]window|(prompt|input) is too long|too many input tokens"
    r"|input token count.{0,80}exceeds|exceeds? the (maximum|max).{0,40}tokens|request_too_large"
    r"|reduce the length of the (messages|prompt)|string_above_max_length|too large for model",
    re.IGNORECASE,
)
_KEY_REFUSED: Final = re.compile(
    r"api[_ ]key.{0,20}(not valid|invalid|must be set|missing|required|not found)"
    r"|(invalid|incorrect|missing|no) (x-)?api[-_ ]key|API_KEY_INVALID"
    r"|unable to locate credentials|could not resolve authentication",
    re.IGNORECASE,
)
_BY_WORD: Final = tuple(
    (code, re.compile(words, re.IGNORECASE))
    for code, words in (
        ("CONTEXT_TOO_LONG", "contextwindow|contextoverflow|contextlength|requesttoolarge"),
        ("MODEL_RATE_LIMITED", "ratelimit|toomanyrequests|throttl|throttel|quota|resourceexhausted"),
        (
            "MODEL_AUTH",
            "authenticat|permissiondenied|permissionerror|unauthori[sz]ed|forbidden|accessdenied|credential"
            "|unrecognizedclient|expiredtoken|invalidsignature|invalidapikey",
        ),
        ("MODEL_TIMEOUT", "timeout|timedout|deadlineexceeded"),
        (
            "MODEL_UNAVAILABLE",
            "connect|unavailable|internalserver|servererror|overloaded|badgateway|modelnotready|modelerror"
            "|modelstreamerror|protocolerror|networkerror|readerror",
        ),
        (
            "MODEL_REFUSED_REQUEST",
            "badrequest|invalidrequest|invalidargument|validation(error|exception)|notfound|unprocessable"
            "|conflict|contentfilter|contentpolicy|unsupportedparams|budget",
        ),
    )
)
"""Codes by what the name of an exception, or the code that it carries, says."""

_WORTH_RETRYING: Final = ("MODEL_RATE_LIMITED", "MODEL_UNAVAILABLE", "MODEL_TIMEOUT")


def message_of(error: BaseException) -> str:
    """Return what an exception says of itself; nothing where asking it raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the exception is the agent's own
        return ""


def model_code(error: BaseException) -> str | None:
    """Return the code of an exception that a call of a model raised; None for every other."""
    try:
        return _code_of(error)
    except Exception:  # noqa: BLE001 - looking at an attribute runs the exception's own code
        return None


def _code_of(error: BaseException) -> str | None:
    classes = [kind for kind in type(error).__mro__ if kind not in (object, BaseException, Exception)]
    if not _is_a_models(error, classes):
        return None
    status, message = _status(error), message_of(error)
    words = [*_own_codes(error), *(kind.__name__ for kind in classes if _says_something(kind))]
    if status in (None, 400, 413, 422, 500) and _TOO_LONG.search(message):
        return "CONTEXT_TOO_LONG"
    if status in (None, 400) and _KEY_REFUSED.search(message):
        return "MODEL_AUTH"
    if status in _CLEAR:
        return _by_status(status)
    named = _named(words)
    return named if named is not None and named != "MODEL_REFUSED_REQUEST" else _by_status(status) or named


def _says_something(kind: type[Any]) -> bool:
    """Whether the name of a class says why a model failed; a file that is not found has no such name."""
    return kind.__module__ != "builtins" or issubclass(kind, TimeoutError | ConnectionError)


def _is_a_models(error: BaseException, classes: Iterable[type[Any]]) -> bool:
    modules = [kind.__module__ for kind in classes]
    if any(
        module.partition(".")[0] in _PROVIDERS or module.startswith(_PROVIDERS_WITHIN) for module in modules
    ):
        return True
    if getattr(error, "operation_name", None) in _MODEL_OPERATIONS:
        return True
    known = any(module.partition(".")[0] in _CLIENTS for module in modules)
    if not (known or _status(error) is not None):
        return False
    return bool(_MODEL_PATH.search(_address(error))) or _passed_a_model(error.__traceback__)


def _passed_a_model(trace: TracebackType | None) -> bool:
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__"))
        if name.partition(".")[0] in _PROVIDERS or name.startswith((*_CALLING, *_PROVIDERS_WITHIN)):
            return True
        trace = trace.tb_next
    return False


def _address(error: BaseException) -> str:
    """Return the address that a client asked, where its exception knows."""
    try:
        asked = getattr(getattr(error, "request", None), "url", None)
        return str(asked or getattr(error, "kwargs", {}).get("endpoint_url", ""))
    except Exception:  # noqa: BLE001 - httpx raises where an exception has no request
        return ""


def _named(words: Iterable[str]) -> str | None:
    for word in words:
        for code, pattern in _BY_WORD:
            if pattern.search(word.replace("_", "")):
                return code
    return None


_CLEAR: Final = (401, 403, 408, 429, 504)  # say more than the name of an exception does


def _by_status(status: int | None) -> str | None:
    if status is None or status < 400:
        return None
    if status in (401, 403):
        return "MODEL_AUTH"
    if status == 429:
        return "MODEL_RATE_LIMITED"
    if status in (408, 504):
        return "MODEL_TIMEOUT"
    return "MODEL_REFUSED_REQUEST" if status < 500 else "MODEL_UNAVAILABLE"


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an exception carries, wherever its package puts it."""
    response = getattr(error, "response", None)
    raw = getattr(error, "raw_response", None)
    found = [
        getattr(error, "status_code", None),
        getattr(error, "http_status", None),
        getattr(error, "code", None),
        getattr(error, "status", None),
        getattr(response, "status_code", None),
        getattr(raw, "status_code", None),
    ]
    if isinstance(response, Mapping):
        found.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    return next((int(one) for one in found if isinstance(one, int) and not isinstance(one, bool)), None)


def _own_codes(error: BaseException) -> Iterator[str]:
    """Yield the names that a provider gives a failure, besides the exception's own."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        yield str((response.get("Error") or {}).get("Code", ""))
    for name in ("code", "type", "status"):
        value = getattr(error, name, None)
        if isinstance(value, str):
            yield value


_SECONDS: Final = re.compile(r"retry(?:Delay['\"]?: ['\"]?| in )(\d+(?:\.\d+)?)s", re.IGNORECASE)
_LONGEST_WAIT: Final = 86_400.0


def _retry_after(error: BaseException) -> float | None:
    """Return the seconds after which a provider wants to be asked again, where it says."""
    headers = _headers(error)
    seconds = _number(headers.get("retry-after-ms"), 0.001)
    if seconds is None:
        seconds = _wait(headers.get("retry-after") or getattr(error, "retry_after", None))
    if seconds is None:
        said = _SECONDS.search(message_of(error))
        seconds = float(said[1]) if said else None
    return None if seconds is None or not 0 <= seconds <= _LONGEST_WAIT else round(seconds, 3)


def _headers(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        found: Any = (response.get("ResponseMetadata") or {}).get("HTTPHeaders")
    else:
        found = getattr(response, "headers", None)
    for other in (found, getattr(error, "headers", None)):
        if other and hasattr(other, "items"):
            return {str(name).lower(): value for name, value in other.items()}
    return {}


def _wait(value: Any) -> float | None:
    seconds = _number(value)
    if seconds is not None or not isinstance(value, str):
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _number(value: Any, unit: float = 1.0) -> float | None:
    try:
        return float(value) * unit
    except (TypeError, ValueError):
        return None
