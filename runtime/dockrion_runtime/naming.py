"""The identifiers that clients may choose."""

from __future__ import annotations

import re
from typing import Final

ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
ID_RULE: Final = "1 to 128 letters, digits, '.', '_', ':' or '-'"
