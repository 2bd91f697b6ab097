"""Whether a peer's rounds are traced with OpenTelemetry, and the ids by which the peers of a run meet in one trace.

They are traced where OTEL_EXPORTER_OTLP_ENDPOINT says where to, by `peer.spans`; otherwise nothing of that is loaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peer.spans import Spans

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def wanted(say: Callable[[str], None]) -> type[Spans] | None:
    """What traces, when somebody asked for it; `say` tells the volunteer why it does not, although it was asked for."""
    asked = [name for name in _ENDPOINTS if os.environ.get(name)]
    if not asked:
        return None
    try:
        from peer.spans import Spans
    except ImportError as error:
        say(f"{asked[0]} is set, but nothing is traced: {error}. `pip install 'garage-swarm[traces]'` installs it.")
        return None
    return Spans


def trace_of(run: str, lineage: int, round_: int) -> int:
    """A round's trace id (W3C Trace Context, 128 bits), which every peer computes alike and nobody has to send: the
    first 16 bytes of the SHA-256 of RUN/LINEAGE/ROUND.
    """
    return int.from_bytes(hashlib.sha256(f"{run}/{lineage}/{round_}".encode()).digest()[:16], "big")


def span_of(trace: int, member: str) -> int:
    """The id (64 bits) of a member's own span of the round, known before that span is: its parts name it."""
    return int.from_bytes(hashlib.sha256(f"{trace:032x}/{member}".encode()).digest()[:8], "big")
