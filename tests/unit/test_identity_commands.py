"""`swarm identity`: shown, written down, and taken up again on another machine."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from swarm import cli
from swarm.errors import NotFoundError, SwarmError, UsageError
from swarm.identity import Identity
from swarm.phrase import phrase_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWARM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def identity(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli.app, ["identity", *arguments], input=stdin)


def failure(result: Result) -> SwarmError:
    assert isinstance(result.exception, SwarmError), result.output
    return result.exception


def test_the_printed_backup_restores_the_identity_elsewhere(home: Path, tmp_path: Path) -> None:
    mine = Identity.load_or_create(home)
    printed = identity("backup").stdout
    assert [word for word in printed.split() if word.isalpha()] == phrase_of(mine).split()
    restored = identity("restore", "--data-dir", str(tmp_path / "other"), stdin=printed)
    assert restored.exit_code == 0, restored.output
    assert mine.member_id in restored.stdout
    path = tmp_path / "other" / "identity.pem"
    assert Identity.load_or_create(tmp_path / "other").public_key == mine.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_identity_is_replaced_only_on_demand_and_kept(home: Path) -> None:
    old, new = Identity.load_or_create(home), Identity.from_seed(b"n" * 32)
    refused = failure(identity("restore", stdin=phrase_of(new)))
    assert isinstance(refused, UsageError)
    assert old.member_id in refused.what
    assert Identity.load_or_create(home).public_key == old.public_key
    assert identity("restore", "--replace", stdin=phrase_of(new)).exit_code == 0
    assert Identity.load_or_create(home).public_key == new.public_key
    assert (home / f"identity-{old.member_id}.pem").exists()
    assert identity("restore", stdin=phrase_of(new)).exit_code == 0  # it is there already


def test_show_names_the_id_and_the_runs_with_one_of_their_own(home: Path) -> None:
    assert json.loads(identity("show", "--json").stdout)["id"] == ""
    assert not home.exists()  # looking makes nothing
    mine, own = Identity.load_or_create(home), Identity.load_or_create(home / "peers" / "law")
    shown = json.loads(identity("show", "--json").stdout)
    assert (shown["id"], shown["own"]) == (mine.member_id, {"law": own.member_id})
    assert "only for the run law" in identity("show").stdout


def test_no_identity_is_no_backup(home: Path) -> None:
    assert isinstance(failure(identity("backup")), NotFoundError)


def test_words_with_a_slip_change_nothing(home: Path) -> None:
    words = phrase_of(Identity.from_seed(b"n" * 32)).split()
    refused = failure(identity("restore", stdin=" ".join([*words[:-1], "garagen"])))
    assert "number 24" in refused.what
    assert not (home / "identity.pem").exists()
