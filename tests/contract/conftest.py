"""A tiny coordinator, an invite to it, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.client import CoordinatorClient
from swarm.invite import Invite
from tests.tiny_coordinator import TinyCoordinator, serving


@pytest.fixture
def server() -> TinyCoordinator:
    return TinyCoordinator()


@pytest.fixture
def invite(server: TinyCoordinator, tmp_path: Path) -> Iterator[Invite]:
    with serving(server, tmp_path / "server") as found:
        yield found


@pytest.fixture
def client(invite: Invite) -> Iterator[CoordinatorClient]:
    with CoordinatorClient.connect(invite) as found:
        yield found
