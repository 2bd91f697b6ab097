"""A tiny coordinator, an invite to it, and a client of it; a database of each kind for stores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from coordinator.server import Coordinator
from swarm import cli
from swarm.client import CoordinatorClient
from swarm.invite import Invite
from tests.tiny_coordinator import TinyCoordinator, serving

Run = Callable[..., tuple[int, str, str]]


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


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    """A real one in the folder `run`, which commands on this machine can maintain."""
    from swarm.cli.rundir import remember
    from swarm.runspec import load
    from tests.small_run import coordinating

    folder = tmp_path / "run"
    with coordinating(folder) as found:
        remember(folder, load(folder / "run.toml"), found.invite, found.own_invite)
        yield found


@pytest.fixture
def swarm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command; its exit code, stdout and stderr."""
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SWARM_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["swarm", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A temporary PostgreSQL on a Unix socket, or the server that SWARM_TEST_POSTGRESQL names."""
    if url := os.environ.get("SWARM_TEST_POSTGRESQL"):
        yield url
        return
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found or not shutil.which("setpriv"):
        pytest.skip("PostgreSQL's initdb is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    as_user = _as_postgres(folder)
    data = str(folder / "data")
    subprocess.run(
        [*as_user, f"{found[-1]}/initdb", "-D", data, "-A", "trust", "-U", "test"], check=True, capture_output=True
    )
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    control = [*as_user, f"{found[-1]}/pg_ctl", "-D", data, "-w", "-l", f"{folder}/log"]
    subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://test@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)


def _as_postgres(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database; empty itself for SQLite, which has a file of its own in each folder."""
    if request.param == "sqlite":
        yield ""
        return
    with emptied(request.getfixturevalue("postgresql")) as url:
        yield url


@contextmanager
def emptied(url: str) -> Iterator[str]:
    """The database, with nothing left in it afterwards."""
    yield url
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
