"""Values as TOML writes them."""

from __future__ import annotations

import json


def value(found: str | float | list[str]) -> str:
    """JSON's text; the two differ only in DEL, which TOML wants escaped."""
    return json.dumps(found, ensure_ascii=False).replace("\x7f", "\\u007f")
