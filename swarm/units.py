"""Amounts with their units, for people."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes: 12 bytes, 640 kB, 10.4 MB, 3.2 GB."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"
