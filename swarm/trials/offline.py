"""Libraries of the model hub try for minutes when there is no network: they are told so before they begin."""

from __future__ import annotations

import socket

_HUB = "huggingface.co", 443
_SECONDS = 3.0  # for its sign of life


def environment() -> dict[str, str]:
    """What to set for such a library: nothing while the hub answers."""
    try:
        socket.create_connection(_HUB, timeout=_SECONDS).close()
    except OSError:
        return dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "1")
    return {}
