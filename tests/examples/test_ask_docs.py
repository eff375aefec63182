"""The ask_docs agent as a bare graph: it works, and streams, without any of dockrion."""

import ast
import asyncio
import importlib
import sys
from math import log
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.graph.state import CompiledStateGraph

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "ask_docs"

GUIDE = """\
---
title: Harbour guide
---
# Harbour

General remarks about the harbour and its buildings.

## Opening hours

The harbour office is open from 8 to 17 on weekdays. It closes on public holidays.
On Sundays the harbour office stays closed.

## Fees

| boat | fee |
|---|---|
| kayak | **2 euros** a day |
| motor yacht | 40 euros a day |

To pay, run:

```
harbour pay --boat NAME
```
"""
TIDES = """\
# Tides

High tide comes twice a day. Ferries leave the [pier](pier.md) one hour after high tide.
"""


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.delenv("ASK_DOCS_FOLDER", raising=False)
    monkeypatch.delenv("DOCKRION_MODEL", raising=False)


@pytest.fixture
def graph_module(example: None) -> ModuleType:
    return importlib.import_module("ask_docs.graph")


@pytest.fixture
def harbour(tmp_path: Path) -> Path:
    (tmp_path / "guide.md").write_text(GUIDE)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "tides.md").write_text(TIDES)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "secret.md").write_text("The harbour master hides a treasure.\n")
    return tmp_path


@pytest.fixture
def graph(graph_module: ModuleType, harbour: Path, monkeypatch: pytest.MonkeyPatch) -> CompiledStateGraph:
    monkeypatch.setenv("ASK_DOCS_FOLDER", str(harbour))
    return graph_module.build_graph()


def test_the_example_imports_nothing_of_dockrion() -> None:
    imported = set()
    files = sorted(EXAMPLE.rglob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
    assert "langgraph.graph" in imported
    assert [name for name in imported if name.startswith("dockrion")] == []


class TestGraph:
    def test_answers_from_the_passage_that_holds_the_answer(self, graph: CompiledStateGraph) -> None:
        output = graph.invoke({"query": "When is the harbour office open?"})
        assert set(output) == {"answer", "sources"}
        assert output["answer"].startswith("The harbour office is open from 8 to 17 on weekdays [1].")
        assert output["sources"][0]["path"] == "guide.md"
        assert output["sources"][0]["heading"] == "Harbour › Opening hours"
        scores = [source["score"] for source in output["sources"]]
        assert scores == sorted(scores, reverse=True)
        assert scores[-1] > 0

    def test_finds_other_forms_of_a_word_in_nested_folders(self, graph: CompiledStateGraph) -> None:
        output = graph.invoke({"query": "When is a ferry leaving?"})
        assert output["answer"] == "Ferries leave the pier one hour after high tide [1]."
        assert output["sources"][0]["path"] == "more/tides.md"

    def test_quotes_a_table_row(self, graph: CompiledStateGraph) -> None:
        assert (
            "Kayak: 2 euros a day [1]." in graph.invoke({"query": "What is the fee for a kayak?"})["answer"]
        )

    def test_quotes_the_code_that_a_sentence_introduces(self, graph: CompiledStateGraph) -> None:
        answer = graph.invoke({"query": "How do I pay the fees?"})["answer"]
        assert "To pay, run: `harbour pay --boat NAME` [1]." in answer

    @pytest.mark.parametrize(
        "question",
        [
            "Who wrote Hamlet?",
            "Which harbour restaurant serves lobster?",
            "where is the treasure?",
            "the of a?",
        ],
    )
    def test_says_so_where_the_documents_do_not_say(self, graph: CompiledStateGraph, question: str) -> None:
        assert graph.invoke({"query": question}) == {"answer": "The documents do not say.", "sources": []}

    def test_streams_the_answer_word_by_word(self, graph: CompiledStateGraph) -> None:
        query = {"query": "When is the harbour office open?"}

        async def stream() -> list[tuple[AIMessageChunk, dict]]:
            return [part async for part in graph.astream(query, stream_mode="messages")]

        parts = asyncio.run(stream())
        words = [chunk.content for chunk, _ in parts if chunk.content]
        assert "".join(words) == graph.invoke(query)["answer"]
        assert all(len(word.split()) == 1 for word in words)
        assert {metadata["langgraph_node"] for _, metadata in parts} == {"answer"}

    def test_reads_the_folder_anew_for_every_question(self, graph: CompiledStateGraph, harbour: Path) -> None:
        question = {"query": "Which crane lifts boats?"}
        assert graph.invoke(question)["sources"] == []
        (harbour / "crane.txt").write_text("The blue crane lifts boats of up to nine tonnes.")
        assert graph.invoke(question)["answer"] == "The blue crane lifts boats of up to nine tonnes [1]."

    def test_any_chat_model_takes_the_place_of_ours(self, graph_module: ModuleType, harbour: Path) -> None:
        model = GenericFakeChatModel(messages=iter([AIMessage("From eight to five [1].")]))
        output = graph_module.compile_graph(harbour, model).invoke({"query": "When is the office open?"})
        assert output["answer"] == "From eight to five [1]."
        assert output["sources"][0]["heading"] == "Harbour › Opening hours"

    def test_a_folder_that_is_none_is_refused(
        self, graph_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASK_DOCS_FOLDER", str(tmp_path / "absent"))
        with pytest.raises(NotADirectoryError, match="absent is not a folder"):
            graph_module.build_graph()

    def test_a_named_model_without_langchain_names_the_remedy(
        self, graph_module: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCKRION_MODEL", "openai:gpt-5-mini")
        monkeypatch.setitem(sys.modules, "langchain", None)
        with pytest.raises(RuntimeError, match="pip install langchain langchain-openai"):
            graph_module.build_graph()


class TestOwnDocs:
    def test_every_section_is_found_by_its_own_words(self, graph_module: ModuleType) -> None:
        corpus = importlib.import_module("ask_docs.corpus")
        words = importlib.import_module("ask_docs.words")
        documents = corpus.load_corpus(REPOSITORY, graph_module.OWN_DOCS)
        sections = [section for section in documents if len(words.terms(section["text"])) >= 8]
        for section in sections[:: max(1, len(sections) // 20)]:
            found = graph_module.retrieve({"query": section["text"], "documents": documents})["passages"]
            assert (section["path"], section["line"]) in {(p["path"], p["line"]) for p in found}

    def test_sources_are_files_of_this_repository(self, graph_module: ModuleType) -> None:
        output = graph_module.build_graph().invoke(
            {"query": "What happens when a client of a direct stream leaves?"}
        )
        assert output["answer"]
        assert all((REPOSITORY / source["path"]).is_file() for source in output["sources"])


class TestBM25:
    """Against values computed by hand: 3 documents of 2, 3 and 4 terms, so 3 on average."""

    DOCUMENTS = (["red", "boat"], ["red", "red", "sail"], ["blue", "boat", "and", "oar"])

    def index(self) -> object:
        return importlib.import_module("ask_docs.bm25").BM25(self.DOCUMENTS)

    def test_a_term_in_two_of_three(self, example: None) -> None:
        idf = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
        short = idf * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3))
        average_twice = idf * 2 * 2.2 / (2 + 1.2)
        assert self.index().scores(["red"]) == pytest.approx([short, average_twice, 0.0])
        assert self.index().scores(["red"]) == pytest.approx([0.54421, 0.64627, 0.0], abs=1e-4)

    def test_terms_add_up_and_repeated_query_terms_count_once(self, example: None) -> None:
        index = self.index()
        red, boat = index.scores(["red"]), index.scores(["boat"])
        both = [first + second for first, second in zip(red, boat, strict=True)]
        assert index.scores(["red", "boat", "red"]) == pytest.approx(both)

    def test_top_leaves_out_what_does_not_match(self, example: None) -> None:
        assert [position for position, _ in self.index().top(["red"], 5)] == [1, 0]
        assert [position for position, _ in self.index().top(["red"], 1)] == [1]
        assert self.index().top(["green"], 5) == []

    def test_nothing_indexed(self, example: None) -> None:
        bm25 = importlib.import_module("ask_docs.bm25").BM25
        assert bm25([]).top(["red"], 5) == []
        assert bm25([[]]).top(["red"], 5) == []


class TestCorpus:
    def test_sections_know_their_headings_and_lines(self, example: None) -> None:
        split = importlib.import_module("ask_docs.corpus").split_document
        sections = split(GUIDE, "guide.md")
        assert [(s["heading"], s["line"]) for s in sections] == [
            ("Harbour", 6),
            ("Harbour › Opening hours", 10),
            ("Harbour › Fees", 15),
        ]
        assert sections[2]["text"].endswith("```\nharbour pay --boat NAME\n```")

    def test_headings_inside_code_are_code(self, example: None) -> None:
        split = importlib.import_module("ask_docs.corpus").split_document
        text = "# One\n\n````\n# not a heading\n```\n# nor this\n````\n\n## Two\n\ntext\n"
        assert [s["heading"] for s in split(text, "a.md")] == ["One", "One › Two"]

    def test_long_sections_are_cut_between_blocks_and_lose_nothing(self, example: None) -> None:
        corpus = importlib.import_module("ask_docs.corpus")
        items = [f"- item {number} says something of its own, at some length" for number in range(60)]
        sections = corpus.split_document("# List\n\n" + "\n".join(items) + "\n", "a.md")
        assert len(sections) > 1
        assert all(len(s["text"]) <= corpus.SECTION_CHARS * 1.2 for s in sections)
        assert [line for s in sections for line in s["text"].splitlines() if line] == items

    @given(
        st.lists(
            st.sampled_from(
                [
                    "# One",
                    "### Three",
                    "text",
                    "  indented",
                    "",
                    "- item",
                    "| a |",
                    "```",
                    "````",
                    "~~~",
                    "```x``` y",
                ]
            )
        )
    )
    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_line_is_lost_whatever_the_order(self, example: None, lines: list[str]) -> None:
        split = importlib.import_module("ask_docs.corpus").split_document
        sections = split("\n".join(lines), "a.md")
        kept = [line for section in sections for line in section["text"].splitlines() if line]
        headings = {"# One", "### Three"}
        assert [line for line in kept if line not in headings] == [
            line for line in lines if line and line not in headings
        ]
        assert all(lines[section["line"] - 1] == section["text"].splitlines()[0] for section in sections)

    def test_text_without_headings_goes_by_its_file_name(self, example: None) -> None:
        split = importlib.import_module("ask_docs.corpus").split_document
        assert [s["heading"] for s in split("plain words", "notes/plain.txt")] == ["plain.txt"]
        assert split("", "empty.md") == []


@pytest.mark.parametrize(
    "forms",
    [
        "leave leaves leaving",
        "cancel cancels cancelled cancelling cancellation",
        "configure configured configuration configurations",
        "execute executed executing execution",
        "query queries",
        "retry retries",
        "process processes processing",
        "call calls called",
        "lose lost",
    ],
)
def test_forms_of_a_word_share_a_stem(example: None, forms: str) -> None:
    stem = importlib.import_module("ask_docs.words").stem
    assert len({stem(form) for form in forms.split()}) == 1


def test_compounds_count_whole_and_in_parts(example: None) -> None:
    terms = importlib.import_module("ask_docs.words").terms
    assert terms("The LangGraph time-out of max_run_duration") == [
        *("langgraph", "lang", "graph", "timeout", "tim"),
        *("max", "run", "dur"),
    ]


@pytest.mark.parametrize(
    ("markdown", "sentences"),
    [
        (
            "One **bold** word. Two [links](a.md), e.g. This one.",
            ["One bold word.", "Two links, e.g. This one."],
        ),
        ("- first item\n- second\n  goes on\n\n1. third", ["first item", "second goes on", "third"]),
        ("| a | b |\n|---|---|\n| `x|y` | yes |\n| z | |", ["`x|y`: yes", "z"]),
        ("| # | what |\n|--|--|\n| 1 | goes | wrong |", ["goes: wrong"]),
        ("Before.\n\n```python\nprint('no')\n```\n\nAfter.", ["Before.", "After."]),
        (
            "Do `a. B` now (See there. Or here.) once. Then rest.",
            ["Do `a. B` now (See there. Or here.) once.", "Then rest."],
        ),
        ("> quoted text\n> goes on", ["quoted text goes on"]),
        ("**`subgraphs=True` is needed**: yes", ["`subgraphs=True` is needed: yes"]),
        ("# Heading\n\n![badge](x.svg)\n\n---\n\n<!-- note -->\ntext with `<tag>`", ["text with `<tag>`"]),
        ("a * b * c stays, so does snake_case_name", ["a * b * c stays, so does snake_case_name"]),
    ],
)
def test_sentences_of_markdown(example: None, markdown: str, sentences: list[str]) -> None:
    assert importlib.import_module("ask_docs.sentences").split_sentences(markdown) == sentences


class TestModel:
    def prompt(self, question: str) -> list:
        passage = {"path": "a.md", "heading": 'The "A" <part>', "line": 3, "text": "A < b & c. Boats float."}
        return importlib.import_module("ask_docs.prompt").build_prompt(question, [passage])

    def model(self) -> object:
        return importlib.import_module("ask_docs.model").ExtractiveChatModel()

    def test_whole_and_streamed_replies_are_the_same(self, example: None) -> None:
        messages, model = self.prompt("Which boats float?"), self.model()
        whole = model.invoke(messages)
        assert whole.content == "Boats float [1]."
        assert "".join(chunk.content for chunk in model.stream(messages)) == whole.content
        assert asyncio.run(model.ainvoke(messages)).content == whole.content

    def test_the_last_word_carries_finish_reason_and_usage(self, example: None) -> None:
        chunks = [chunk for chunk in self.model().stream(self.prompt("Which boats float?")) if chunk.content]
        assert chunks[-1].response_metadata["finish_reason"] == "stop"
        assert chunks[-1].usage_metadata["output_tokens"] == 3
        assert not any(chunk.response_metadata.get("finish_reason") for chunk in chunks[:-1])

    def test_other_tasks_run_between_the_words(self, example: None) -> None:
        turns: list[None] = []

        async def take_turns() -> None:
            while True:
                turns.append(None)
                await asyncio.sleep(0)

        async def turns_at_each_word() -> list[int]:
            other = asyncio.create_task(take_turns())
            chunks = self.model().astream(self.prompt("Which boats float?"))
            seen = [len(turns) async for chunk in chunks if chunk.content]
            other.cancel()
            return seen

        first, second, third = asyncio.run(turns_at_each_word())
        assert first < second < third

    def test_stop_sequences_cut_the_reply(self, example: None) -> None:
        assert self.model().invoke(self.prompt("Which boats float?"), stop=["["]).content == "Boats float "

    def test_a_question_without_passages(self, example: None) -> None:
        assert (
            self.model().invoke([HumanMessage("Which boats float?")]).content == "The documents do not say."
        )
