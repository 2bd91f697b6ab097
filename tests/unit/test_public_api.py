"""The public names, and that importing them loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import swarm

HEAVY = ("torch", "hivemind", "transformers", "grpc", "pydantic", "cryptography")


def test_the_public_names_are_pinned() -> None:
    assert swarm.__all__ == [
        "CoordinatorClient",
        "Identity",
        "Invite",
        "RunSpec",
        "SwarmError",
        "PROTOCOL_VERSION",
        "__version__",
    ]


@pytest.mark.parametrize("name", swarm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(swarm, name) is not None
    assert name in dir(swarm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        swarm.nothing  # noqa: B018


@pytest.mark.parametrize("module", ["peer.supervisor", "coordinator.server"])
def test_who_speaks_grpc_holds_no_torch(module: str) -> None:
    """gRPC and fork do not mix, and hivemind forks; the coordinator stays small, a refused join quick."""
    code = (
        f"import sys, {module}; print([name for name in ('torch', 'hivemind', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_swarm_loads_nothing_heavy() -> None:
    code = f"import sys, swarm; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_loads_neither_torch_nor_hivemind() -> None:
    code = f"import sys, swarm; swarm.CoordinatorClient; print([name for name in {HEAVY[:3]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
