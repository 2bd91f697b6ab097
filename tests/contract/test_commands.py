"""The commands in this process: what they print, and that every failure is one message and its exit code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import grpc
import numpy as np
import pytest
from safetensors.numpy import save

from swarm import paths
from swarm.cli import known
from swarm.cli.checkpoints import chosen
from swarm.cli.launch import reachable_host
from swarm.cli.rundir import check_same_run, remember
from swarm.errors import NotFoundError, SpecError
from swarm.invite import Invite
from swarm.proto import coordinator_pb2 as pb
from swarm.runspec import example, load, loads
from swarm.tensorfile import state_digest
from tests.contract.conftest import Run
from tests.tiny_coordinator import TinyCoordinator

ANY = Invite("h", 1, "r", "0" * 32, "t")


def test_status_as_table_and_as_json(swarm: Run, invite: Invite) -> None:
    code, out, err = swarm("status", invite)
    assert (code, err) == (0, "")
    assert "a-run" in out
    code, out, _ = swarm("status", invite, "--json")
    assert json.loads(out)["run"] == "a-run"


def test_runs_of_a_coordinator(swarm: Run, invite: Invite) -> None:
    assert [run["name"] for run in json.loads(swarm("runs", invite, "--json")[1])] == ["r"]
    assert "Name" in swarm("runs", invite)[1]


def test_runs_on_this_machine(swarm: Run, invite: Invite) -> None:
    assert "swarm launch" in swarm("runs")[1]
    assert json.loads(swarm("runs", "--json")[1]) == []
    for name, where in (("running", invite), ("stopped", Invite("127.0.0.1", 1, "x", "0" * 32, "t"))):
        folder = paths.run_dir(name)
        folder.mkdir(parents=True)
        remember(folder, example(), where, where)
    found = json.loads(swarm("runs", "--json")[1])
    assert [(run["name"], run["state"]) for run in found] == [("running", "running"), ("stopped", "stopped")]
    assert found[1]["folder"] == str(paths.run_dir("stopped"))
    assert {run["role"] for run in found} == {"maintainer"}


def test_a_run_that_was_joined_is_known_by_its_name(swarm: Run, invite: Invite) -> None:
    known.keep(invite, paths.peer_dir("law"))
    known.keep(Invite("127.0.0.1", 1, "med", "0" * 32, "t" * 22), paths.peer_dir("med"))
    assert json.loads(swarm("status", "law", "--json")[1])["run"] == "a-run"
    assert swarm("checkpoints", "list", "law")[0] == 0
    code, _, err = swarm("status")
    assert code == 2
    assert "law, med" in err
    found = json.loads(swarm("runs", "--json")[1])
    assert [(run["name"], run["role"], run["state"]) for run in found] == [
        ("law", "volunteer", "running"),
        ("med", "volunteer", "not reached"),
    ]


@pytest.fixture
def state(server: TinyCoordinator, tmp_path: Path) -> bytes:
    """A coordinator with one checkpoint, of round 4."""
    path = tmp_path / "server.safetensors"
    path.write_bytes(save({"model/w": np.arange(1000, dtype=np.float32)}))
    content = path.read_bytes()
    server.checkpoint = pb.Checkpoint(
        round=4, digest=state_digest(path), sha256=hashlib.sha256(content).hexdigest(), size=len(content)
    )
    server.downloads = [lambda _data, _context: iter([content])]
    return content


def test_checkpoints_are_listed(swarm: Run, invite: Invite, state: bytes) -> None:
    assert [item["round"] for item in json.loads(swarm("checkpoints", "list", invite, "--json")[1])] == [4]
    assert "4.08 kB" in swarm("checkpoints", "list", invite)[1]


def test_checkpoints_are_listed_with_what_was_measured(swarm: Run, invite: Invite, server: TinyCoordinator) -> None:
    server.checkpoint = pb.Checkpoint(
        round=4, heldout_loss=2.5, has_heldout_loss=True, metrics={"bleu": 31.25}, evaluated_by="c0ffee"
    )
    out = swarm("checkpoints", "list", invite)[1]
    assert "2.500" in out
    assert "bleu 31.25" in out
    found = json.loads(swarm("checkpoints", "list", invite, "--json")[1])
    assert found[0]["metrics"] == {"bleu": 31.25}


def test_a_checkpoint_is_fetched_and_verified(swarm: Run, invite: Invite, state: bytes, tmp_path: Path) -> None:
    code, out, err = swarm("checkpoints", "get", invite)
    assert (code, err) == (0, "")
    assert (tmp_path / "a-run-round-4.safetensors").read_bytes() == state
    assert "round 4" in out


def test_a_checkpoint_with_another_digest_is_refused(
    swarm: Run, invite: Invite, server: TinyCoordinator, state: bytes, tmp_path: Path
) -> None:
    server.checkpoint.digest = "0" * 64
    code, _, err = swarm("checkpoints", "get", invite, "--output", tmp_path / "mine")
    assert code == 12
    assert "does not hold the state" in err


def test_a_round_without_a_checkpoint_is_said_so(swarm: Run, invite: Invite, state: bytes) -> None:
    code, _, err = swarm("checkpoints", "get", invite, "--round", 3)
    assert code == 13
    assert "no checkpoint of round 3" in err
    assert "rounds: 4." in err


def test_the_latest_checkpoint_is_chosen() -> None:
    kept = [pb.Checkpoint(round=number) for number in (20, 40, 0)]
    assert chosen(kept, None).round == 40
    assert chosen(kept, 0).round == 0
    with pytest.raises(NotFoundError, match="any round"):
        chosen([], None)


def entry(start: int, stop: int, state: str, round_: int, who: str, why: str = "") -> pb.LedgerEntry:
    place = pb.Range(start=start, stop=stop)
    return pb.LedgerEntry(range=place, state=state, round=round_, member_id=who, why=why, lease_id="1-x")


ANNA, BOB = "c0ffee4200000000", "c0ffee4200000000-2"


@pytest.fixture
def ledger(server: TinyCoordinator) -> TinyCoordinator:
    """Four finished rounds over epochs of ten samples."""
    server.run.layout.MergeFrom(pb.DataLayout(shard_samples=[6, 4], sequence_length=8))
    server.status.round = 4
    server.status.members.extend([pb.Member(member_id=ANNA, name="anna"), pb.Member(member_id=BOB, name="bob")])
    server.ledger = [
        entry(0, 3, "counted", 0, ANNA),
        entry(3, 6, "expired", 0, BOB, "bob left"),
        entry(6, 8, "counted", 1, BOB),
        entry(8, 10, "counted", 1, BOB),
        entry(3, 6, "counted", 2, ANNA),
        entry(0, 2, "rejected", 3, BOB, "already counted"),
        entry(10, 12, "leased", 4, ANNA),
    ]
    return server


def test_the_ledger_says_what_became_of_samples_by_whom_and_why(
    swarm: Run, invite: Invite, ledger: TinyCoordinator
) -> None:
    code, out, err = swarm("ledger", "show", invite)
    assert (code, err) == (0, "")
    assert [" ".join(line.split()) for line in out.splitlines()[1:]] == [
        "0 3 counted 0-2 anna (c0ffee42)",
        "0 3 expired 3-5 bob (c0ffee42-2) bob left",
        "1 4 counted 6-9 bob (c0ffee42-2)",
        "2 3 counted 3-5 anna (c0ffee42)",
        "3 2 rejected 0-1 bob (c0ffee42-2) already counted",
    ]
    found = json.loads(swarm("ledger", "show", invite, "--from", 1, "--to", 2, "--samples", "--json")[1])
    assert [(line["round"], line["ranges"], line["name"]) for line in found] == [
        (1, [[6, 10]], "bob"),
        (2, [[3, 6]], "anna"),
    ]
    rows = [row for line in found for parts in line["shards"].values() for part in parts for row in range(*part)]
    assert len(rows) == 7
    assert ":" in swarm("ledger", "show", invite, "--round", 2, "--samples")[1]


def test_rounds_without_samples_are_said_to_be(swarm: Run, invite: Invite, ledger: TinyCoordinator) -> None:
    assert swarm("ledger", "show", invite, "--round", 4) == (0, "No samples in these rounds yet.\n", "")
    code, _, err = swarm("ledger", "show", invite, "--round", 4, "--to", 5)
    assert (code, "Use the one or the others" in err) == (2, True)


def test_a_ledger_that_adds_up_is_replayed(swarm: Run, invite: Invite, ledger: TinyCoordinator) -> None:
    code, out, err = swarm("ledger", "replay", invite, "--samples")
    assert (code, err) == (0, "")
    assert "epoch 0, shard 0: rows 0-5\nepoch 0, shard 1: rows 0-3\n" in out
    assert out.splitlines()[-1] == (
        "The ledger adds up: 10 samples counted, none twice; every sample of 1 finished epoch exactly once; "
        "still open: epoch 1."
    )
    found = json.loads(swarm("ledger", "replay", invite, "--json")[1])
    assert found["exact"]
    assert [(epoch["counted"], epoch["finished"]) for epoch in found["epochs"]] == [(10, True), (0, False)]
    assert found["members"][1] == {
        "member_id": BOB, "name": "bob", "counted": 4, "expired": 3, "rejected": 2, "leased": 0
    }  # fmt: skip


def test_a_ledger_that_does_not_add_up_is_an_error_that_names_the_range(
    swarm: Run, invite: Invite, ledger: TinyCoordinator
) -> None:
    ledger.ledger.append(entry(2, 4, "counted", 3, BOB))
    code, out, err = swarm("ledger", "replay", invite)
    assert code == 12
    assert "range 2-3 is counted a second time: in round 3" in err
    assert "anna" in out
    code, out, err = swarm("ledger", "replay", invite, "--json")
    assert (code, json.loads(out)["exact"], json.loads(out)["epochs"][0]["twice"]) == (12, False, 2)


@pytest.mark.parametrize("code", ["REFUSED", "PROTOCOL", "UNKNOWN_RUN"])
def test_a_refusal_is_one_line_and_its_exit_code(
    swarm: Run, invite: Invite, server: TinyCoordinator, code: str
) -> None:
    detail = pb.ErrorDetail(code=code, what="The coordinator said no.", remedy="Ask nicely.")
    server.refusal = (grpc.StatusCode.FAILED_PRECONDITION, detail)
    exit_code, out, err = swarm("status", invite)
    assert exit_code == {"REFUSED": 6, "PROTOCOL": 7, "UNKNOWN_RUN": 8}[code]
    assert (out, err) == ("", "swarm: The coordinator said no. Ask nicely.\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "nonsense"], 4),
        (["join", "nonsense"], 4),
        (["status", "swarm://127.0.0.1:1/r?fp=" + "0" * 32 + "&token=t"], 5),
        (["launch", "none.toml"], 3),
        (["run-spec", "check", "none.toml"], 3),
        (["lunch"], 2),
        (["status"], 13),
        (["launch", "x.toml", "--port", "70000"], 2),
        (["--version"], 0),
        (["run-spec", "schema"], 0),
    ],
)
def test_exit_codes(swarm: Run, arguments: list[str], code: int) -> None:
    found, _, err = swarm(*arguments)
    assert found == code
    assert "Traceback" not in err
    assert bool(err) == bool(code)


def test_debug_shows_the_traceback(swarm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_DEBUG", "1")
    with pytest.raises(SpecError):
        swarm("run-spec", "check", "none.toml")


def test_an_unexpected_error_asks_for_a_report(swarm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.runspec.load", lambda _path: 1 / 0)
    code, _, err = swarm("run-spec", "check", "x.toml")
    assert code == 1
    assert err.startswith("swarm: An error that should not happen: ZeroDivisionError")
    assert "--debug" in err


def test_run_spec_init_writes_a_valid_spec_once(swarm: Run, tmp_path: Path) -> None:
    assert swarm("run-spec", "init")[0] == 0
    assert load(tmp_path / "run.toml") == example()
    assert "is valid" in swarm("run-spec", "check", "run.toml")[1]
    before = (tmp_path / "run.toml").read_bytes()
    code, _, err = swarm("run-spec", "init")
    assert (code, "was not changed" in err) == (2, True)
    assert (tmp_path / "run.toml").read_bytes() == before


def test_run_spec_errors_keep_their_lines(swarm: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[run]\nname = 'X'\n[training]\nrounds = 0\n")
    code, _, err = swarm("run-spec", "check", "bad.toml")
    assert code == 3
    assert "\n  line 2: run.name" in err
    assert "\n  line 4: training.rounds" in err


# ── what may change in a spec between two launches ─────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("rounds = 200", "rounds = 300", ""),
        ("rounds = 200", "rounds = 100", "training.rounds was 200, now 100"),
        ('"My run"', '"Ours"', ""),
        ("keep = 3", "keep = 9", ""),
        ("target_batch_size = 64", "target_batch_size = 32", "training.target_batch_size was 64, now 32"),
        ("seed = 0", "seed = 1", "run.seed"),
        ('"none"', '"fp16"', "exchange.compression"),
    ],
)
def test_a_run_goes_on_only_with_harmless_changes(tmp_path: Path, old: str, new: str, key: str) -> None:
    check_same_run(tmp_path, example())  # nothing there yet
    remember(tmp_path, example(), ANY, ANY)
    after = loads(example().to_toml().replace(old, new))
    if not key:
        check_same_run(tmp_path, after)
        return
    with pytest.raises(SpecError) as caught:
        check_same_run(tmp_path, after)
    assert key in caught.value.what
    assert "run.name" in caught.value.remedy


def test_the_remembered_invite_is_private(tmp_path: Path) -> None:
    remember(tmp_path, example(), ANY, ANY)
    for name in ("invite", "maintainer-invite"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_advertised_host() -> None:
    assert reachable_host("127.0.0.1") == "127.0.0.1"
    assert reachable_host("example.org") == "example.org"
    assert reachable_host("0.0.0.0") not in ("", "0.0.0.0")
    assert ":" in reachable_host("::")
