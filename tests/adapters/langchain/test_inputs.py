"""What runnables take: their input schema holds for what they accept, and a message has a form of it."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from langchain_core._api import LangChainDeprecationWarning
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    ConfigurableField,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableWithMessageHistory,
)

from dockrion_adapters import DescribesInput, HandlerAdapter, ObjectAdapter
from dockrion_adapters.langchain import LangChainAdapter
from dockrion_sdk import Agent
from dockrion_sdk.chat import chat_payload, chat_slots

MODEL = FakeListChatModel(responses=["yes"])
TEXT_MODEL = FakeListLLM(responses=["yes"])
ONE = ChatPromptTemplate.from_template("Tell me of {topic}.")
TWO = ChatPromptTemplate.from_template("Tell me of {topic} in {n} words.")
TALK = ChatPromptTemplate.from_messages([("system", "Hello"), MessagesPlaceholder("history")])
PERHAPS = ChatPromptTemplate.from_messages([("placeholder", "{history}"), ("user", "{question}")])
USER: dict[str, Any] = {"role": "user", "content": "hi"}


class Retriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        assert isinstance(query, str)
        return [Document(query)]


def shout(text: str) -> str:
    return text.upper()


async def ashout(text: str) -> str:
    return text.upper()


def counted(given: dict[str, Any]) -> int:
    return len(given)


def anything(given: Any) -> str:
    return str(given)


TEXTS = [
    MODEL,
    TEXT_MODEL,
    MODEL | StrOutputParser(),
    MODEL.bind(stop=["x"]) | StrOutputParser(),
    MODEL.with_retry() | StrOutputParser(),
    MODEL.with_fallbacks([MODEL]),
    MODEL.configurable_fields(responses=ConfigurableField("responses")),
    RunnablePassthrough() | MODEL,
    RunnableLambda(shout) | MODEL,
    RunnableLambda(ashout),
    RunnableLambda(shout).with_config(tags=["x"]),
    Retriever(),
    {"context": Retriever(), "question": RunnablePassthrough()} | TWO.partial(n="3", topic="x") | MODEL,
    {"context": Retriever(), "topic": RunnablePassthrough()} | ONE | MODEL | StrOutputParser(),
    RunnableParallel(one=RunnableLambda(shout), two=MODEL),
]
OBJECTS: list[tuple[Any, list[Any]]] = [
    (ONE | MODEL, [{"topic": "x"}, {"topic": 5}, {"topic": "x", "more": 1}, "x"]),
    (TWO | MODEL, [{"topic": "x", "n": 5}, {"topic": ["a"], "n": None}]),
    (TALK | MODEL, [{"history": []}, {"history": [USER, ["user", "hi"], "hi"]}]),
    (PERHAPS | MODEL, [{"question": "?"}, {"question": "?", "history": [USER]}]),
    (PromptTemplate.from_template("{a}{b}") | TEXT_MODEL, [{"a": 1, "b": [2]}]),
    (RunnableLambda(counted), [{}, {"a": 1}]),
    (RunnablePassthrough.assign(n=itemgetter("m")) | TWO | MODEL, [{"topic": "x", "m": 3}]),
]
UNKNOWN = [
    RunnableLambda(anything),
    RunnableLambda(lambda given: given),
    RunnablePassthrough(),
    {"topic": RunnablePassthrough(), "n": RunnableLambda(lambda given: len(given))} | TWO | MODEL,
]
REFUSED: list[tuple[Any, Any]] = [
    (MODEL, {"messages": []}),
    (MODEL, 5),
    (ONE | MODEL, {"other": 1}),
    (TWO | MODEL, {"topic": "x"}),
    (TWO | MODEL, "text"),
    (RunnableLambda(shout), {"text": "x"}),
]


def validator(runnable: Any) -> Draft202012Validator:
    schema = LangChainAdapter(runnable).input_schema()
    assert schema is not None
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("runnable", TEXTS, ids=range(len(TEXTS)))
async def test_what_takes_a_text_says_so(runnable: Any) -> None:
    validator(runnable).validate("hi")
    adapter = LangChainAdapter(runnable)
    assert adapter.chat_payload("hi") == "hi"
    assert adapter.invoke("hi")
    assert await adapter.ainvoke("hi")


@pytest.mark.parametrize("payload", [[USER], ["hi"], [["user", "hi"]], []])
async def test_a_model_takes_messages(payload: Any) -> None:
    validator(MODEL).validate(payload)
    if payload:
        assert (await LangChainAdapter(MODEL).ainvoke(payload)).content == "yes"


@pytest.mark.parametrize(("runnable", "payloads"), OBJECTS, ids=range(len(OBJECTS)))
async def test_what_takes_an_object_is_not_refused_it(runnable: Any, payloads: list[Any]) -> None:
    for payload in payloads:
        validator(runnable).validate(payload)
        await LangChainAdapter(runnable).ainvoke(payload)


@pytest.mark.parametrize(("runnable", "payload"), REFUSED, ids=range(len(REFUSED)))
async def test_what_it_refuses_the_schema_refuses(runnable: Any, payload: Any) -> None:
    assert not validator(runnable).is_valid(payload)
    with pytest.raises(Exception):  # noqa: B017 - whatever it raises, it does not take it
        await LangChainAdapter(runnable).ainvoke(payload)


@pytest.mark.parametrize("runnable", UNKNOWN, ids=range(len(UNKNOWN)))
@pytest.mark.parametrize("payload", ["hi", ["hi"], {"a": 1}, 7, 7.5, True])
def test_what_may_take_anything_is_refused_nothing_and_offers_no_chat(runnable: Any, payload: Any) -> None:
    validator(runnable).validate(payload)
    assert LangChainAdapter(runnable).chat_payload("hi") is None


def test_what_is_executed_for_each_item_takes_a_list() -> None:
    validator(RunnableLambda(shout).map()).validate(["a", "b"])
    assert LangChainAdapter(RunnableLambda(shout).map()).invoke(["a", "b"]) == ["A", "B"]


def test_invoke_executes_what_is_asynchronous_only() -> None:
    for chain in (RunnableLambda(ashout), MODEL | StrOutputParser() | RunnableLambda(ashout).bind()):
        assert LangChainAdapter(chain).invoke("yes") == "YES"


def test_a_history_decides_by_itself_what_it_takes() -> None:
    with pytest.warns(LangChainDeprecationWarning):
        chain = RunnableWithMessageHistory(MODEL, lambda session_id: None)  # type: ignore[arg-type, return-value]
    adapter = LangChainAdapter(chain)
    validator(chain).validate("hi")
    assert not adapter.forgets_threads
    assert LangChainAdapter(MODEL).forgets_threads


def test_the_variables_of_a_prompt_are_named() -> None:
    schema = LangChainAdapter(TWO | MODEL).input_schema()
    assert schema is not None
    assert set(schema["properties"]) == set(schema["required"]) == {"topic", "n"}


# -- the other adapters, and the SDK --------------------------------------------------------------------


def text_handler(text: str) -> str:
    return text.upper()


def list_handler(items: list[str]) -> int:
    return len(items)


async def number_handler(number: int) -> int:
    return number + 1


def open_handler(payload: dict[str, Any]) -> int:
    return len(payload)


def plain_handler(payload):  # type: ignore[no-untyped-def]
    return payload


class Callable_:
    def __call__(self, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("handler", "schema"),
    [
        (text_handler, {"type": "string"}),
        (list_handler, {"type": "array"}),
        (number_handler, {"type": "integer"}),
        (Callable_(), {"type": "string"}),
        (open_handler, None),
        (plain_handler, None),
        (str.upper, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_handler_says_what_it_is_annotated_with(handler: Any, schema: Any) -> None:
    adapter = HandlerAdapter(handler)
    assert isinstance(adapter, DescribesInput)
    assert adapter.input_schema() == schema


async def test_an_agent_is_told_a_message_in_its_own_form() -> None:
    assert Agent.load(text_handler).chat_payload("hi") == "hi"
    assert await Agent.load(text_handler).ainvoke("hi") == "HI"
    assert Agent.load(plain_handler).chat_payload("hi") == {"query": "hi"}
    assert Agent.load(MODEL).chat_payload("hi") == "hi"
    events = [event async for event in Agent.load(MODEL).stream_chat("hi", serialize=False)]
    assert "".join(event.chunk or "" for event in events) == "yes"


def test_the_place_of_the_message_may_be_the_whole() -> None:
    slots = list(chat_slots(LangChainAdapter(MODEL)))
    assert slots[0].path == []
    assert slots[0].payload == chat_payload("Hello", LangChainAdapter(MODEL))
    assert list(chat_slots(HandlerAdapter(plain_handler))) == []


def test_which_objects_can_tell_threads_apart() -> None:
    class Without:
        def invoke(self, payload: Any) -> Any:
            return payload

    class With:
        def invoke(self, payload: Any, config: Any) -> Any:
            return config

    assert ObjectAdapter(Without()).forgets_threads
    assert not ObjectAdapter(With()).forgets_threads
    assert HandlerAdapter(plain_handler).forgets_threads
