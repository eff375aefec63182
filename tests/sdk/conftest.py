"""A Dockfile of a test's own, in a directory of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dockrion_sdk import Dockfile, DockfileError, load_dockfile

Load = Callable[..., Dockfile]
Refused = Callable[..., DockfileError]

AGENT = "agent: {name: my-agent, handler: app.service:handle}\n"


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a Dockfile from its text, in the working directory and with no environment unless given."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str | bytes, env: Mapping[str, str] | None = None) -> Dockfile:
        raw = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "Dockfile.yaml").write_bytes(raw)
        return load_dockfile(env={} if env is None else env)

    return load_text


@pytest.fixture
def refused(load_text: Load) -> Refused:
    """Load a Dockfile that must be refused, and return the error."""

    def refused(text: str | bytes, env: Mapping[str, str] | None = None) -> DockfileError:
        with pytest.raises(DockfileError) as caught:
            load_text(text, env)
        return caught.value

    return refused
