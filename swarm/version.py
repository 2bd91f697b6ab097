"""The version of this package, and of the protocol that it speaks."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

PROTOCOL_VERSION = 1  # sent with every call as `swarm-protocol`; two sides must agree on it


def _installed() -> str:
    try:
        return version("garage-swarm")
    except PackageNotFoundError:  # run from a checkout
        return "0.1.0"


__version__ = _installed()
