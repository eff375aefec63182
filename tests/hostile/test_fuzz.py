"""Two minutes of the fuzzer; `make fuzz` runs it for longer, and with a new seed each time."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from .cases import cases, mutated
from .fuzz import AGENT, fuzz
from .support import serving

SEED = 20
SECONDS = 120.0


@pytest.mark.timeout(SECONDS + 60)
def test_nothing_that_is_sent_hurts_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, agent=AGENT, keys=True, a2a=True) as target:
        outcome = fuzz(target, SEED, SECONDS)
    assert not outcome.faults, f"{outcome}\n" + "\n".join(outcome.faults)
    assert outcome.sent.total() > 300, outcome
    assert {200, 400, 401, 404, 409} <= set(outcome.statuses), outcome  # it got past the first check


def test_a_seed_draws_the_same_cases() -> None:
    first, second = (cases(7) for _ in range(2))
    assert [next(first) for _ in range(200)] == [next(second) for _ in range(200)]
    assert mutated(Random(1), b"abc") == mutated(Random(1), b"abc")


def test_a_server_that_fails_is_noticed(tmp_path: Path) -> None:
    """The fuzzer itself: an agent that ends the process, and one that holds the loop, are faults."""
    agent = "import time\n\nasync def handle(payload):\n    time.sleep(0.4)\n    return {}\n"
    with serving(tmp_path, keys=True, agent=agent) as target:
        outcome = fuzz(target, SEED, 5.0)
    assert any("/health took" in fault for fault in outcome.faults), outcome
