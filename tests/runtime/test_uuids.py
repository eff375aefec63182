"""Random UUIDs, made by hand."""

from __future__ import annotations

import uuid

from dockrion_runtime.uuids import random_uuid


def test_random_uuids_are_uuids_of_version_4() -> None:
    made = {random_uuid() for _ in range(1000)}
    assert len(made) == 1000
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
