"""Libraries that the base install does not bring: each belongs to an extra, and what is missing says how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from swarm.errors import UsageError


def require(extra: str, purpose: str, *modules: str) -> None:
    """Raises UsageError that names the command which installs `extra`, when one of its modules is not there."""
    for module in modules:
        if find_spec(module) is None:
            raise UsageError(
                f"{purpose} needs the library {module}, which is not installed here.",
                f"Install it with `pip install 'garage-swarm[{extra}]'`.",
            )
