"""The table of docs/operators.md and the dashboard, held against what a real server answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ..servers.redis import RedisServer
from .conftest import Serve

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[^|]*)\| (?P<text>.+) \|")
NAME = re.compile(r"\b(?:dockrion|process)_[a-z_]+\b")
SELECTED = re.compile(r"(?P<name>(?:dockrion|process)_[a-z_]+)\{(?P<labels>[^}]*)\}")


@pytest.fixture
def answered(serve: Serve, shared_redis: RedisServer) -> list[Metric]:
    """Everything that servers with runs have to tell, after requests that were refused."""
    found: dict[str, Metric] = {}
    for store in ({"backend": "redis", "redis": {"url": shared_redis.url}}, {"memory": {"max_bytes": 1}}):
        live = serve(lambda payload: payload, streaming={"async_runs": True, **store})
        assert live.post("/invoke", [1]).status_code == 400
        assert live.post("/runs").status_code == (202 if "backend" in store else 503)
        for family in text_string_to_metric_families(live.get("/metrics").text):
            if family.name not in found or len(family.samples) > len(found[family.name].samples):
                found[family.name] = family
    return list(found.values())


def labels(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def written_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_is_in_the_table_and_nothing_else(answered: list[Metric]) -> None:
    table = [match.groupdict() for match in ROW.finditer((ROOT / "docs/operators.md").read_text())]
    assert {(row["name"], row["type"], frozenset(re.findall(r"\w+", row["labels"]))) for row in table} == {
        (written_name(family), family.type, frozenset(labels(family))) for family in answered
    }


def test_names_follow_the_conventions(answered: list[Metric]) -> None:
    for family in answered:
        assert family.documentation, family.name
        if not family.name.startswith("process_"):
            assert family.name.startswith("dockrion_")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def expressions(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node[key] for key in ("expr", "definition") if key in node]
        return own + [found for value in node.values() for found in expressions(value)]
    return [found for value in node for found in expressions(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("where", ["dashboard", "alerts"])
def test_what_is_asked_for_exists(answered: list[Metric], where: str) -> None:
    if where == "dashboard":
        asked = expressions(json.loads((ROOT / "deploy/grafana/dashboard.json").read_text()))
    else:
        alerts = (ROOT / "docs/operators.md").read_text().partition("## What to alert on")[2]
        asked = [alerts.replace("\\|", "|")]
    known = {sample.name: set(sample.labels) for family in answered for sample in family.samples}
    names = {name for text in asked for name in NAME.findall(text)}
    assert len(names) > 5
    assert names <= set(known)
    for text in asked:
        for match in SELECTED.finditer(text):
            used = set(re.findall(r"(\w+)\s*=", match["labels"])) - {"job"}
            assert used <= known[match["name"]], match[0]


def test_every_metric_of_ours_is_on_the_dashboard(answered: list[Metric]) -> None:
    text = (ROOT / "deploy/grafana/dashboard.json").read_text()
    assert [family.name for family in answered if family.name not in text] == [
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "process_max_fds",
    ]
