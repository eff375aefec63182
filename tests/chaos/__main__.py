"""The long storm: ``python -m tests.chaos --seed N`` writes its figures into docs/reliability.md."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from .report import rows, write
from .storm import LONG, RECOVERY_BOUND, SHORT, Storm

REPORT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill servers, workers and Redis under load.")
    parser.add_argument("--seed", type=int, default=None, help="of all choices; printed if it is not given")
    parser.add_argument("--short", action="store_true", help="the size of the test, and no report")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}: the same choices again with make chaos SEED={seed}", flush=True)
    size = SHORT if options.short else LONG
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        figures = asyncio.run(Storm(Path(folder), size, seed, tell=_tell).rage())
    for name, value in rows(figures):
        print(f"{name}: {value}")
    for fault in figures.faults:
        print(f"FAULT {fault}")
    if not options.short:
        write(REPORT, figures)
    slow = max(figures.recoveries_standing, default=0.0) > RECOVERY_BOUND
    return 1 if figures.faults or slow else 0


def _tell(text: str) -> None:
    print(text, flush=True)


sys.exit(main())
