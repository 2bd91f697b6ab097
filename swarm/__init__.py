"""Garage Swarm: train one model together on volunteers' GPUs.

This package is the public API; the names below load their module when they are first used, so that `import swarm` is
instant and loads neither torch nor hivemind.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarm.client import CoordinatorClient
    from swarm.errors import SwarmError
    from swarm.identity import Identity
    from swarm.invite import Invite
    from swarm.runspec import RunSpec
    from swarm.version import PROTOCOL_VERSION, __version__

__all__ = [
    "CoordinatorClient",
    "Identity",
    "Invite",
    "RunSpec",
    "SwarmError",
    "PROTOCOL_VERSION",
    "__version__",
]

_HOMES = {
    "CoordinatorClient": "swarm.client",
    "Identity": "swarm.identity",
    "Invite": "swarm.invite",
    "RunSpec": "swarm.runspec",
    "SwarmError": "swarm.errors",
    "PROTOCOL_VERSION": "swarm.version",
    "__version__": "swarm.version",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'swarm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
