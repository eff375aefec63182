"""The agent: load the documents, retrieve the passages that matter, answer from them.

Plain LangGraph: nothing here knows what serves it.
"""

import os
import re
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict

from .bm25 import BM25
from .corpus import ANY_DOCUMENT, Section, load_corpus
from .model import ExtractiveChatModel
from .prompt import build_prompt
from .words import terms

MAX_PASSAGES = 6
OWN_DOCS = ("README.md", "docs/**/*.md")

_CITATION = re.compile(r"\[\d+\]")


class Question(TypedDict):
    query: str


class Source(TypedDict):
    """A passage given to the model; ``[n]`` in the answer is the n-th one. ``score`` is its BM25 score."""

    path: str
    heading: str
    score: float


class Answer(TypedDict):
    """``sources`` is empty where the answer cites none."""

    answer: str
    sources: list[Source]


class Passage(Section):
    score: float


class State(Question, Answer):
    documents: list[Section]
    passages: list[Passage]


def build_graph() -> CompiledStateGraph:
    """The graph over ``ASK_DOCS_FOLDER``, else this repository's own docs, answering with ``DOCKRION_MODEL``.

    Without ``DOCKRION_MODEL`` the extractive model answers, offline. With it (``openai:gpt-5-mini``) it is
    langchain's ``init_chat_model`` that does.
    """
    folder = os.environ.get("ASK_DOCS_FOLDER")
    model = _named_model(os.environ.get("DOCKRION_MODEL"))
    if folder:
        return compile_graph(Path(folder), model)
    return compile_graph(Path(__file__).resolve().parents[3], model, patterns=OWN_DOCS)


def compile_graph(
    folder: Path, model: BaseChatModel, patterns: tuple[str, ...] = ANY_DOCUMENT
) -> CompiledStateGraph:
    """The graph over the files in ``folder`` that match ``patterns``. They are read anew for every question.

    Raises NotADirectoryError where ``folder`` is none.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"ASK_DOCS_FOLDER: {folder} is not a folder")

    def load(state: Question) -> dict[str, Any]:
        return {"documents": load_corpus(folder, patterns)}

    def answer(state: State) -> Answer:
        reply = model.invoke(build_prompt(state["query"], state["passages"]))
        return _answer_update(str(reply.text), state)

    async def answer_async(state: State) -> Answer:
        reply = await model.ainvoke(build_prompt(state["query"], state["passages"]))
        return _answer_update(str(reply.text), state)

    graph = StateGraph(State, input_schema=Question, output_schema=Answer)
    graph.add_node("load", load)
    graph.add_node("retrieve", retrieve)
    graph.add_node("answer", RunnableLambda(answer, afunc=answer_async))
    graph.add_edge(START, "load")
    graph.add_edge("load", "retrieve")
    graph.add_edge("retrieve", "answer")
    graph.add_edge("answer", END)
    return graph.compile(name="ask-docs")


def retrieve(state: State) -> dict[str, Any]:
    """The best passages for the question, best first; headings count as text, twice."""
    documents = state["documents"]
    index = BM25(terms(" ".join([d["heading"], d["heading"], d["text"]])) for d in documents)
    best = index.top(terms(state["query"]), MAX_PASSAGES)
    return {"passages": [Passage(**documents[position], score=round(score, 3)) for position, score in best]}


def _answer_update(answer: str, state: State) -> Answer:
    sources = [
        Source(path=passage["path"], heading=passage["heading"], score=passage["score"])
        for passage in state["passages"]
    ]
    return Answer(answer=answer, sources=sources if _CITATION.search(answer) else [])


def _named_model(name: str | None) -> BaseChatModel:
    if not name:
        return ExtractiveChatModel()
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise RuntimeError(
            f"DOCKRION_MODEL is {name!r}, but langchain is missing: pip install langchain langchain-openai"
        ) from error
    return init_chat_model(name)
