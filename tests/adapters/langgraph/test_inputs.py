"""What graphs take: their input schema, what they refuse before they begin, and how a message is said."""

from __future__ import annotations

import json
import operator
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.managed import RemainingSteps
from langgraph.types import Command, interrupt
from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from dockrion_adapters import ChecksInput, DescribesInput, InputRefused, Inspects
from dockrion_adapters.base import OWNER, TEMPORARY
from dockrion_adapters.langgraph import LangGraphAdapter

from .states import Items, Model, Numbers, Record, Strict, chain

CALLED: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


def of(state: Any, **schemas: Any) -> Any:
    """Return a builder of one node that notes that it ran."""
    builder = StateGraph(state, **schemas)
    return builder.add_node("node", lambda given: CALLED.append(given)).add_edge(START, "node")


class Question(TypedDict):
    question: str
    language: typing.NotRequired[str]


class Loose(TypedDict, total=False):
    question: str


class Full(TypedDict):
    question: str
    answer: str
    sources: list[str]


class Checked(BaseModel):
    question: str = Field(max_length=10)
    count: int = 1

    @field_validator("question")
    @classmethod
    def not_empty(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is empty")
        return value


class CheckedTalk(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages]
    tags: Annotated[list[str], operator.add]
    topic: str


@dataclass
class Data:
    question: str
    trail: Annotated[list[str], operator.add] = field(default_factory=list)


class Managed(BaseModel):
    question: str
    remaining_steps: RemainingSteps


class Own(TypedDict):
    messages: Annotated[Sequence[BaseMessage], operator.add]
    history: list[AnyMessage]


class Odd:
    pass


class WithOdd(TypedDict):
    question: str
    odd: Odd


class Standard(typing.TypedDict):
    question: str
    messages: Annotated[list[AnyMessage], add_messages]


def extend(left: list[int], right: list[int]) -> list[int]:
    left.extend(right)
    return left


class InPlace(TypedDict):
    numbers: Annotated[list[int], extend]


async def refusal(target: Any, payload: Any, config: Any = None) -> tuple[str, str] | None:
    """Return the path and the words of a refusal, None if there is none; nothing may be executed."""
    before = len(CALLED)
    adapter = target if isinstance(target, LangGraphAdapter) else LangGraphAdapter(target)
    try:
        await adapter.check_input(payload, config=config)
    except InputRefused as error:
        return error.path, error.message
    finally:
        assert len(CALLED) == before
    return None


def test_they_are_abilities_of_the_adapter() -> None:
    adapter = LangGraphAdapter()
    assert isinstance(adapter, ChecksInput | DescribesInput | Inspects)
    assert isinstance(adapter, ChecksInput)
    assert isinstance(adapter, DescribesInput)


# -- what reaches no input of the graph ---------------------------------------------------------------

NOTHING: list[Any] = [{"command": {"resume": "yes"}}, {"messsages": []}, {"input": {"question": "?"}}]
STATES = (Question, Loose, Full, Checked, Data, MessagesState, Model, Record)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("payload", NOTHING, ids=lambda payload: next(iter(payload)))
async def test_a_payload_that_reaches_no_input_is_refused(state: Any, payload: Any) -> None:
    path, told = await refusal(of(state), payload) or ("", "")
    assert path == "$"
    assert next(iter(payload)) in told
    assert "the graph takes " in told


@pytest.mark.parametrize("state", [Question, Full, Checked, Data, MessagesState])
async def test_an_empty_payload_is_refused_if_the_state_needs_anything(state: Any) -> None:
    path, told = await refusal(of(state), {}) or ("", "")
    assert path == "$"
    assert "it says nothing; the graph takes " in told


@pytest.mark.parametrize("state", [Loose, Numbers, Items, Model, Record])
async def test_an_empty_payload_is_taken_if_all_is_optional(state: Any) -> None:
    assert await refusal(of(state), {}) is None


@pytest.mark.parametrize("payload", [{"question": "?"}, {"question": "?", "other": 1}, {"answer": "!"}])
async def test_a_part_of_the_state_is_enough_and_more_does_no_harm(payload: Any) -> None:
    assert await refusal(of(Full), payload) is None


async def test_the_input_schema_counts_and_not_the_state() -> None:
    graph = of(Full, input_schema=Question)
    assert await refusal(graph, {"question": "?"}) is None
    assert (await refusal(graph, {"answer": "?"}) or ("",))[0] == "$"


@pytest.mark.parametrize("payload", ["text", 5, [1], True])
async def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
    assert await refusal(of(Full), payload) == (
        "$",
        "the graph takes an object with question, answer, sources",
    )


@pytest.mark.parametrize("payload", [None, Command(resume=1), HumanMessage("hi"), Data("?"), Record()])
async def test_what_is_no_json_is_langgraphs_to_judge(payload: Any) -> None:
    assert await refusal(of(Full), payload) is None


async def test_an_entrypoint_takes_anything() -> None:
    @entrypoint()
    def work(given: Any) -> Any:
        return given

    for payload in ({}, {"command": {"resume": 1}}, "text", [1]):
        assert await refusal(work, payload) is None


async def test_a_state_that_is_a_single_value() -> None:
    builder: Any = StateGraph(Annotated[list[int], operator.add])
    builder.add_node("node", lambda state: []).add_edge(START, "node")
    assert await refusal(builder, [7]) is None
    assert (await refusal(builder, 7) or ("",))[0] == "$"


# -- a thread that waits for an answer ----------------------------------------------------------------


def asking(saver: Any, state: Any = Numbers) -> Any:
    def ask(given: Any) -> dict[str, Any]:
        CALLED.append("ask")
        return {"trail": [interrupt("sure?")]}

    return StateGraph(state).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=saver)


@pytest.mark.parametrize("owner", ["", "ada"])
@pytest.mark.parametrize("payload", [{}, {"command": {"resume": "yes"}}])
@pytest.mark.parametrize("state", [Numbers, Model, Record])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_says_nothing_does_not_reach_a_thread_that_waits(
    kind: str, state: Any, payload: Any, owner: str, tmp_path: Any
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as sqlite:
        adapter = LangGraphAdapter(asking(sqlite if kind == "sqlite" else InMemorySaver(), state))
        config: Any = {"configurable": {"thread_id": "t", **({OWNER: owner} if owner else {})}}
        await adapter.ainvoke({"x": 1}, config=config)
        path, told = await refusal(adapter, payload, config) or ("", "")
        assert path == "$"
        assert "the graph takes x, trail" in told
        assert CALLED == ["ask"]
        assert (await adapter.ainvoke(Command(resume="yes"), config=config))["trail"] == ["yes"]


@pytest.mark.parametrize("payload", [{}, {"command": {"resume": "yes"}}])
async def test_nor_does_it_reach_an_entrypoint_that_waits(payload: Any) -> None:
    @entrypoint(checkpointer=InMemorySaver())
    def ask(given: dict[str, Any]) -> Any:
        CALLED.append("ask")
        return interrupt("sure?") if given.get("ask") else "no question"

    adapter = LangGraphAdapter(ask)
    config: Any = {"configurable": {"thread_id": "t"}}
    assert await refusal(adapter, payload, config) is None
    await adapter.ainvoke({"ask": True}, config=config)
    path, told = await refusal(adapter, payload, config) or ("", "")
    assert (path, told) == ("$", "the thread waits for an answer, which this input would drop")
    assert CALLED == ["ask"]
    assert await refusal(adapter, {"ask": False}, config) is None
    assert await adapter.ainvoke(Command(resume="yes"), config=config) == "yes"


async def test_another_turn_is_taken_as_it_is_bare() -> None:
    adapter = LangGraphAdapter(asking(InMemorySaver()))
    config: Any = {"configurable": {"thread_id": "t"}}
    await adapter.ainvoke({"x": 1}, config=config)
    assert await refusal(adapter, {"x": 2}, config) is None
    assert await refusal(adapter, {}, {"configurable": {"thread_id": "other"}}) is None
    assert await refusal(adapter, {}, {"configurable": {"thread_id": "t", TEMPORARY: True}}) is None


# -- what the state refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "payload", "path", "told"),
    [
        (Checked, {"question": 5}, "question", "valid string"),
        (Checked, {"question": "?", "count": "many"}, "count", "valid integer"),
        (Checked, {"question": "x" * 11}, "question", "at most 10"),
        (Checked, {"question": " "}, "question", "it is empty"),
        (Checked, {"count": 1}, "question", "required"),
        (Data, {"trail": ["a"]}, "question", "required"),
        (CheckedTalk, {"messages": "hi"}, "topic", "required"),
        (Numbers, {"trail": "text"}, "trail", "can only concatenate list"),
        (Items, {"squares": 5}, "squares", "can only concatenate list"),
        (MessagesState, {"messages": [{"role": "bot", "content": "hi"}]}, "messages.0", "bot"),
        (MessagesState, {"messages": ["hi", {"role": "user"}]}, "messages.1", "content"),
        (MessagesState, {"messages": [{"content": "hi"}]}, "messages.0", "role"),
        (MessagesState, {"messages": [None]}, "messages.0", "NoneType"),
        (MessagesState, {"messages": 5}, "messages", "int"),
        (MessagesState, {"messages": {"role": "robot", "content": "hi"}}, "messages", "robot"),
        (MessagesState, {"messages": [{"role": "user", "content": 5}]}, "messages.0", "content"),
        (MessagesState, {"messages": [["user", "a", "b"]]}, "messages.0", ""),
        (CheckedTalk, {"messages": [{"role": "bot", "content": ""}], "topic": "x"}, "messages.0", "bot"),
    ],
)
async def test_a_value_that_the_state_refuses_is_named(
    state: Any, payload: Any, path: str, told: str
) -> None:
    graph = of(state).compile()
    found = await refusal(graph, payload)
    assert found is not None
    assert found[0] == path
    assert told in found[1]
    assert "\n" not in found[1]
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, it fails bare as well
        await graph.ainvoke(payload)


@pytest.mark.parametrize(
    ("state", "payload"),
    [
        (Checked, {"question": "?", "count": "5"}),
        (Strict, {"x": 1, "label": "a"}),
        (Model, {"x": "7"}),
        (Record, {"x": "text"}),
        (Question, {"question": 5}),
        (Managed, {"question": "?"}),
        (CheckedTalk, {"messages": "hi", "topic": "x"}),
        (CheckedTalk, {"messages": [("user", "hi")], "topic": "x", "tags": ["a"]}),
        (MessagesState, {"messages": []}),
        (MessagesState, {"messages": "hi"}),
        (MessagesState, {"messages": ["hi", ["user", "hi"], {"role": "assistant", "content": "yes"}]}),
        (MessagesState, {"messages": [{"type": "human", "content": [{"type": "text", "text": "hi"}]}]}),
        (MessagesState, {"messages": {"__overwrite__": []}}),
        (MessagesState, {"messages": [{"role": "tool", "content": "1", "tool_call_id": "c"}]}),
        (Numbers, {"x": None}),
    ],
)
async def test_what_the_bare_graph_takes_is_taken(state: Any, payload: Any) -> None:
    graph = of(state).compile()
    assert await refusal(graph, payload) is None
    await graph.ainvoke(payload)
    assert len(CALLED) == 1


async def test_only_what_the_first_nodes_read_is_held_against_a_schema() -> None:
    builder = StateGraph(Strict).add_node("a", lambda state: {"label": "z"}, input_schema=Loose)
    builder.add_node("b", lambda state: {"x": state.x}).add_edge(START, "a").add_edge("a", "b")
    assert await refusal(builder, {"x": 1}) is None
    await builder.compile().ainvoke({"x": 1})


async def test_a_branch_from_the_start_reads_the_state() -> None:
    builder = StateGraph(Checked).add_node("a", lambda state: None)
    builder.add_conditional_edges(START, lambda state: "a", ["a"])
    assert (await refusal(builder, {"question": 5}) or ("",))[0] == "question"


@pytest.mark.parametrize("state", [Checked, Data])
async def test_what_the_thread_holds_already_counts_as_given(state: Any) -> None:
    name = "count" if state is Checked else "trail"
    value: Any = 5 if state is Checked else ["more"]
    adapter = LangGraphAdapter(of(state).compile(checkpointer=InMemorySaver()))
    config: Any = {"configurable": {"thread_id": "t"}}
    assert (await refusal(adapter, {name: value}, config) or ("",))[0] == "question"
    await adapter.ainvoke({"question": "?"}, config=config)
    assert await refusal(adapter, {name: value}, config) is None
    await adapter.ainvoke({name: value}, config=config)
    other: Any = {"configurable": {"thread_id": "other"}}
    assert (await refusal(adapter, {name: value}, other) or ("",))[0] == "question"


async def test_what_the_thread_holds_counts_for_the_graphs_of_a_factory() -> None:
    saver = InMemorySaver()

    def make(config: Any) -> Any:
        return of(Checked).compile(checkpointer=saver)

    adapter = LangGraphAdapter(make)
    await adapter.inspect()
    config: Any = {"configurable": {"thread_id": "t", OWNER: "ada"}}
    assert (await refusal(adapter, {"count": 5}, config) or ("",))[0] == "question"
    await adapter.ainvoke({"question": "?"}, config=config)
    assert await refusal(adapter, {"count": 5}, config) is None
    asked = LangGraphAdapter(lambda config: asking(saver))
    await asked.inspect()
    await asked.ainvoke({"x": 1}, config=config)
    assert (await refusal(asked, {}, config) or ("",))[0] == "$"


async def test_a_thread_that_cannot_be_read_is_the_executions_to_report() -> None:
    class Broken(InMemorySaver):
        async def aget_tuple(self, config: Any) -> Any:
            raise OSError("no database")

    adapter = LangGraphAdapter(of(Loose).compile(checkpointer=Broken()))
    assert await refusal(adapter, {}, {"configurable": {"thread_id": "t"}}) is None


async def test_a_message_may_be_removed_that_the_thread_holds() -> None:
    adapter = LangGraphAdapter(of(MessagesState).compile(checkpointer=InMemorySaver()))
    config: Any = {"configurable": {"thread_id": "t"}}
    remove = {"messages": [{"type": "remove", "id": "1", "content": ""}]}
    assert (await refusal(adapter, remove, config) or ("",))[0] == "messages"
    await adapter.ainvoke({"messages": [{"role": "user", "content": "hi", "id": "1"}]}, config=config)
    assert await refusal(adapter, remove, config) is None


async def test_a_check_leaves_no_trace_in_the_graph() -> None:
    graph = of(InPlace).compile()
    for _ in range(3):
        assert await refusal(graph, {"numbers": [1]}) is None
    assert (await graph.ainvoke({"numbers": [2]}))["numbers"] == [2]


async def test_a_graph_that_is_only_known_in_an_execution_is_not_checked() -> None:
    def make(config: Any) -> Any:
        return of(Checked)

    adapter = LangGraphAdapter(make)
    assert await refusal(adapter, {"question": 5}) is None
    await adapter.inspect()
    assert (await refusal(adapter, {"question": 5}) or ("",))[0] == "question"


class Translating(LangGraphAdapter):
    """Takes payloads of its own, as the documentation shows."""

    async def ainvoke(self, payload: Any, **options: Any) -> Any:
        return await super().ainvoke(Command(resume=payload["resume"]), **options)


class Unchanged(LangGraphAdapter):
    framework = "another"


async def test_a_subclass_that_translates_payloads_has_payloads_of_its_own() -> None:
    adapter = Translating(of(Checked))
    assert await refusal(adapter, {"resume": True}) is None
    assert adapter.input_schema() is None
    assert await refusal(Unchanged(of(Checked)), {"resume": True}) is not None


# -- the input schema ---------------------------------------------------------------------------------


def schema_of(target: Any) -> dict[str, Any]:
    schema = LangGraphAdapter(target).input_schema()
    assert schema is not None
    Draft202012Validator.check_schema(schema)
    return schema


def test_the_schema_is_the_graphs_own() -> None:
    graph = of(Checked).compile()
    assert schema_of(graph) == graph.get_input_jsonschema()
    assert schema_of(of(Full, input_schema=Question))["properties"].keys() == {"question", "language"}
    assert schema_of(of(Full))["properties"]["sources"] == {
        "items": {"type": "string"}, "title": "Sources", "type": "array",
    }  # fmt: skip


def test_the_fields_of_a_model_have_the_names_that_the_graph_takes() -> None:
    class Aliased(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        question: str = Field(alias="q")
        count: int = 1

    adapter = LangGraphAdapter(of(Aliased))
    schema = adapter.input_schema()
    assert schema is not None
    assert (set(schema["properties"]), schema["required"]) == ({"question", "count"}, ["question"])
    assert adapter.chat_payload("hi") == {"question": "hi"}


@pytest.mark.parametrize("payload", [[], [{"role": "user", "content": "hi"}], "hi"])
async def test_a_state_that_is_a_list_of_messages_takes_one_of_them_too(payload: Any) -> None:
    adapter = LangGraphAdapter(of(Annotated[list, add_messages]))
    for given in (payload, {"role": "user", "content": "hi"}):
        Draft202012Validator(adapter.input_schema()).validate(given)
        assert await refusal(adapter, given) is None
        await adapter.ainvoke(given)
    assert adapter.chat_payload("hi") == [{"role": "user", "content": "hi"}]


async def test_the_words_of_a_validator_are_its_own() -> None:
    class Either(BaseModel):
        a: str | None = None

        @field_validator("a")
        @classmethod
        def known(cls, value: str | None) -> str | None:
            if value == "x":
                raise ValueError("x is taken")
            return value

    assert await refusal(LangGraphAdapter(of(Either)), {"a": "x"}) == ("a", "x is taken")


def test_a_typed_dict_requires_nothing() -> None:
    assert "required" not in schema_of(of(Full))


def test_lists_of_messages_are_short_and_take_what_langchain_takes() -> None:
    for state in (MessagesState, CheckedTalk, Own):
        schema = schema_of(of(state))
        assert len(json.dumps(schema)) < 1500
        messages = schema["properties"]["messages"]
        Draft202012Validator(messages).validate([{"role": "user", "content": "hi"}])
        assert schema["properties"]["messages"]["type"] == "array"


def test_a_typed_dict_of_the_standard_library() -> None:
    """Pydantic refuses to describe one before Python 3.12."""

    schema = schema_of(of(Standard))
    assert schema["properties"]["question"]["type"] == "string"
    assert schema["properties"]["messages"]["type"] == "array"


def test_a_type_that_has_no_schema_does_not_hide_the_others() -> None:
    schema = schema_of(of(WithOdd))
    assert schema["properties"]["question"]["type"] == "string"
    assert set(schema["properties"]) == {"question", "odd"}


def test_an_entrypoint_says_what_its_function_takes() -> None:
    @entrypoint()
    def text(question: str) -> str:
        return question

    @entrypoint()
    def talk(messages: list[BaseMessage]) -> str:
        return ""

    @entrypoint()
    def structured(given: Question) -> str:
        return ""

    assert schema_of(text)["type"] == "string"
    assert schema_of(talk)["type"] == "array"
    assert schema_of(structured)["properties"].keys() == {"question", "language"}


async def test_a_factory_is_known_when_it_is_open() -> None:
    async def make() -> Any:
        return of(MessagesState)

    adapter = LangGraphAdapter(make)
    assert adapter.input_schema() is None
    assert adapter.chat_payload("hi") is None
    async with adapter:
        assert adapter.input_schema() is not None
        assert adapter.chat_payload("hi") == {"messages": [{"role": "user", "content": "hi"}]}


# -- how a message is said ----------------------------------------------------------------------------

SAID = [{"role": "user", "content": "hi"}]


class OnlyInside(MessagesState):
    question: str


class Texts(TypedDict):
    messages: list[str]


class Other(TypedDict):
    number: int


class Two(TypedDict):
    first: str
    second: str


class OneNeeded(BaseModel):
    question: str
    language: str = "en"


class Talk(TypedDict):
    messages: Annotated[list[Any], add_messages]
    user: str


class PlainList(TypedDict):
    messages: list


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (lambda: of(MessagesState), {"messages": SAID}),
        (lambda: of(Talk), {"messages": SAID}),
        (lambda: of(PlainList), {"messages": SAID}),
        (lambda: of(CheckedTalk), {"messages": SAID}),
        (lambda: of(OnlyInside, input_schema=Question), {"question": "hi"}),
        (lambda: of(Texts), None),
        (lambda: of(Other), None),
        (lambda: of(Two), None),
        (lambda: of(OneNeeded), {"question": "hi"}),
        (lambda: of(Loose), {"question": "hi"}),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
async def test_a_message_goes_where_the_input_takes_one(target: Any, expected: Any) -> None:
    adapter = LangGraphAdapter(target())
    payload = adapter.chat_payload("hi")
    assert payload == expected
    if payload is not None:
        missing = {"topic": "x"} if "messages" in payload else {}
        await adapter.check_input({**payload, **missing})
        await adapter.ainvoke({**payload, **missing})


async def test_a_message_to_an_entrypoint() -> None:
    @entrypoint()
    def text(question: str) -> str:
        return question

    @entrypoint()
    def talk(messages: list[BaseMessage]) -> int:
        return len(messages)

    @entrypoint()
    def state(given: MessagesState) -> int:
        return len(given["messages"])

    @entrypoint()
    def anything(given: Any) -> Any:
        return given

    @entrypoint()
    def mapping(given: dict[str, Any]) -> Any:
        return given

    said = [LangGraphAdapter(one).chat_payload("hi") for one in (text, talk, state, anything, mapping)]
    assert said == ["hi", SAID, {"messages": SAID}, None, None]


async def test_the_first_node_of_a_chain_is_not_executed_by_looking() -> None:
    adapter = LangGraphAdapter(chain(Numbers, "a"))
    assert adapter.chat_payload("hi") is None
    assert adapter.input_schema() is not None
