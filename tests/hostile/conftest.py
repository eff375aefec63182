"""Servers to attack, shared by the tests that leave them standing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .support import Target, serving


@pytest.fixture(scope="package")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server with keys on, for clients that have none, and with A2A."""
    with serving(tmp_path_factory.mktemp("locked"), keys=True, a2a=True) as target:
        yield target


@pytest.fixture(scope="package")
def unlocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server without keys: every client is let in."""
    with serving(tmp_path_factory.mktemp("unlocked"), a2a=True) as target:
        yield target


@pytest.fixture(params=["locked", "unlocked"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each of the two in turn: clients before authentication, and after it."""
    found: Target = request.getfixturevalue(request.param)
    return found
