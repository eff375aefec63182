"""``python -m benchmarks [scenario ...] [--quick] [--profile]``; see the package."""

from __future__ import annotations

import argparse
import os
import sys
import time

import uvloop

from .machine import CLIENT_CORE, CORES, pin
from .report import RESULTS, Row, print_table, write_page, write_results
from .rounds import Plan
from .scenarios import SCENARIOS

BUSY = 0.7  # processes that run besides, on average over the last minute


def main() -> int:
    """Measure and report; return 1 where a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds; writes nothing")
    parser.add_argument(
        "--profile", action="store_true", help="show where the servers spend their time; writes nothing"
    )
    options = parser.parse_args()
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if len(CORES) < 2:
        parser.error("two cores are needed: one for the server and one for the client")
    if options.profile:
        os.environ["BENCHMARK_PROFILE"] = "1"
    pin(CLIENT_CORE)
    if os.getloadavg()[0] > BUSY:
        print(
            f"the machine is busy (load {os.getloadavg()[0]:.1f}): what shares the two cores shares the "
            "figures, the speeds most of all; processor time beside them tells more",
            file=sys.stderr,
        )
    plan = Plan.quick() if options.quick else Plan()
    rows = _measure(options.scenarios or list(SCENARIOS), plan)
    print_table(rows)
    sys.stdout.flush()
    if not (options.scenarios or options.quick or options.profile):
        write_results(rows)
        write_page(rows)
        print(f"written: {RESULTS.relative_to(RESULTS.parent.parent)}, docs/performance.md")
    missed = [row.name for row in rows if not row.met]
    if missed:
        print(f"{len(missed)} of {len(rows)} goals missed: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _measure(names: list[str], plan: Plan) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        began = time.monotonic()
        rows += uvloop.run(SCENARIOS[name](plan))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows


if __name__ == "__main__":
    sys.exit(main())
