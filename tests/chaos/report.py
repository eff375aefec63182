"""The long storm's figures, as a section of a document."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path

from .ledger import Figures, share

BEGIN = "<!-- chaos: written by `make chaos` -->"
END = "<!-- chaos: end -->"


def rows(figures: Figures) -> list[tuple[str, str]]:
    """Return what was counted, each with its name."""
    counts, ends = figures.counts, figures.ends
    all_recoveries, standing = figures.recoveries, figures.recoveries_standing
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}"),
        ("seed", str(figures.seed)),
        ("duration", f"{figures.seconds:.0f} s"),
        ("SIGKILLs of executing servers", str(counts["server killed"])),
        ("SIGKILLs of executing workers", str(counts["worker killed"])),
        ("SIGKILLs of Redis", str(counts["redis killed"])),
        ("processes stopped for three leases", str(counts["stopped"])),
        ("processes that an agent took along", str(counts["taken along"])),
        ("runs", str(counts["runs"])),
        ("of these, runs whose agent blocks the loop for two seconds", str(counts["runs that block"])),
        ("runs whose agent exits the process once", str(counts["runs that exit"])),
        ("runs whose agent exits it every time", str(counts["runs that exit for ever"])),
        ("runs whose agent hangs", str(counts["runs that hang"])),
        ("events in their logs", str(counts["events"])),
        ("events delivered to subscribers", str(counts["delivered"])),
        ("reconnects of subscribers", str(counts["reconnects"])),
        ("events lost", str(counts["lost"])),
        ("events duplicated", str(counts["duplicated"])),
        ("explicit gaps", str(counts["gaps"])),
        ("other faults", str(counts["other faults"])),
        ("runs that ended in `complete`", str(ends["complete"])),
        ("runs that ended in `error` EXECUTOR_LOST", str(ends["error EXECUTOR_LOST"])),
        ("runs that ended in `error` LOG_UNAVAILABLE", str(ends["error LOG_UNAVAILABLE"])),
        ("runs that ended in `error` LOG_LOST", str(ends["error LOG_LOST"])),
        ("runs that were cancelled", str(ends["cancelled"])),
        ("`restarted` events", str(counts["restarted"])),
        (
            "from a kill to the run's next event, as a subscriber saw it",
            f"median {share(all_recoveries, 0.5):.1f} s, p99 {share(all_recoveries, 0.99):.1f} s, "
            f"max {share(all_recoveries, 1.0):.1f} s",
        ),
        (
            "the same, counted from when Redis and one server were there",
            f"median {share(standing, 0.5):.1f} s, p99 {share(standing, 0.99):.1f} s, "
            f"max {share(standing, 1.0):.1f} s",
        ),
    ]


def write(file: Path, figures: Figures) -> None:
    """Replace the marked section of ``file``."""
    text = file.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{file} has no section between {BEGIN!r} and {END!r}")
    table = "\n".join(f"| {name} | {value} |" for name, value in rows(figures))
    file.write_text(f"{before}{BEGIN}\n\n| | |\n|---|---|\n{table}\n\n{END}{after}")
