"""``python -m tools.docs`` writes the generated pages; with ``--check`` it only compares them."""

from __future__ import annotations

import sys
from pathlib import Path

from . import cli, dockfile, python_api

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (cli, dockfile, python_api)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("python -m tools.docs [--check]", file=sys.stderr)
        return 2
    stale = []
    for module in PAGES:
        file, text = DOCS / module.FILE, module.page()
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(module.FILE)
        if not arguments:
            file.write_text(text, encoding="utf-8")
            print(f"wrote docs/{module.FILE}")
    if arguments and stale:
        print(f"not what the code says: {', '.join(stale)}; `make docs` writes them", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
