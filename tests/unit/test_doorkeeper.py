"""Who is let in: those whose pass is of this run, this node and this moment, and who are not barred."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.bans import LIVES
from coordinator.nodepass import NodePapers
from peer.doorkeeper import ANYBODY, MEMBERS, Doorkeeper, admits, remembered
from peer.renewal import Renewal
from swarm.errors import UnreachableError
from swarm.identity import server_certificate
from swarm.papers import Hearing, Papers
from swarm.passes import LIFETIME, NODE, Authority
from swarm.proto import coordinator_pb2 as pb
from tests.let_in import pass_for

NOW = 1_700_000_000.0
PASS = pb.Pass(run="test", member="m", peer_id=b"p", role="volunteer", issued_at=NOW, expires_at=NOW + 900)


@given(
    peer=st.sampled_from([b"p", b"q"]),
    late=st.floats(-100, 5000),
    heard=st.one_of(st.floats(-100, 5000), st.just(-NOW)),
    barred=st.sets(st.sampled_from(["m", "n"])),
    role=st.sampled_from([*sorted(ANYBODY), "", "stranger"]),
)
def test_who_is_let_in(peer: bytes, late: float, heard: float, barred: set[str], role: str) -> None:
    shown = pb.Pass()
    shown.CopyFrom(PASS)
    shown.role = role
    fine = peer == b"p" and "m" not in barred and role in MEMBERS and min(late, heard) <= 960 and heard != -NOW
    assert (admits(shown, peer, NOW + late, NOW + heard, barred) == "") is fine
    assert admits(None, peer, NOW + late, NOW + heard, barred)


def doorkeeper(tmp_path: Path, now: float = NOW, run: str = "test") -> Doorkeeper:
    authority = Authority.of(run, server_certificate(tmp_path).certificate_pem)
    return Doorkeeper(authority, tmp_path / "papers", lambda: now)


def test_papers_are_read_again_when_they_change(tmp_path: Path) -> None:
    shown = pass_for(tmp_path, b"p", member="m", issued_at=NOW, expires_at=NOW + 900)
    keeper = doorkeeper(tmp_path)
    Papers(b"own", NOW).keep(tmp_path / "papers")
    assert keeper.papers.own == b"own"
    assert keeper.objection(b"p", shown) == ""
    Papers(b"new", NOW, frozenset({"m"})).keep(tmp_path / "papers")
    assert keeper.papers.own == b"new"
    assert "banned" in keeper.objection(b"p", shown)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"run": "other"}, "no pass"),
        ({"peer_id": b"q"}, "another node"),
        ({"role": "node"}, "may not"),
        ({"expires_at": NOW - 61}, "expired"),
    ],
    ids=str,
)
def test_another_pass_lets_nobody_in(tmp_path: Path, facts: dict[str, Any], why: str) -> None:
    Papers(b"", NOW).keep(tmp_path / "papers")
    usual = {"peer_id": b"p", "member": "m", "issued_at": NOW, "expires_at": NOW + 900}
    assert why in doorkeeper(tmp_path).objection(b"p", pass_for(tmp_path, **{**usual, **facts}))


def test_nobody_is_let_in_with_another_coordinators_pass_or_none(tmp_path: Path) -> None:
    Papers(b"", NOW).keep(tmp_path / "papers")
    forged = pass_for(tmp_path / "other", b"p", member="m")
    assert "no pass" in doorkeeper(tmp_path).objection(b"p", forged)
    assert "no pass" in doorkeeper(tmp_path).objection(b"p", b"")


@pytest.mark.parametrize("torn", [b"", b"{", b"[]\n", b'{"own": "x"}\n', b'{"barred": 1}\n', b'{"own": 3}\n'])
def test_torn_papers_let_nobody_in_and_do_not_stop_the_node(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "papers").write_bytes(torn)
    assert doorkeeper(tmp_path).papers == Papers()


@given(st.lists(st.floats(0.1, 50.0), min_size=1, max_size=30))
def test_who_hears_the_coordinator_all_the_time_knows_the_time_after_a_minute(pauses: list[float]) -> None:
    hearing, now = Hearing(), NOW
    for pause in [0.0, *pauses]:
        now += pause
        hearing.note(now, ["m"])
        assert hearing.heard_at == (now if now - NOW >= 60.0 else NOW - LIFETIME)
    assert hearing.barred == ("m",)


def test_after_an_absence_everybody_has_a_minute_to_renew_its_pass() -> None:
    hearing = Hearing()
    for now in (NOW, NOW + 30, NOW + 60):
        hearing.note(now, [])
    back = NOW + 7200
    hearing.note(back, ["m"])
    assert hearing.heard_at == NOW + 60
    assert hearing.barred == ("m",)  # that counts at once
    hearing.note(back + 30, [])
    assert hearing.barred == ("m",), "a pass of hers from before would count"
    hearing.note(back + 60, [])
    assert hearing.heard_at == back + 60
    assert hearing.barred == ()


@given(st.floats(-LIFETIME, 0.0), st.floats(0.0, 3 * LIFETIME), st.floats(0.0, 90.0))
def test_no_pass_from_before_a_ban_counts_in_a_process_that_begins_after_it(
    issued: float, begins: float, later: float
) -> None:
    """A banned member was let in again 17 to 31 minutes after its last sign of life."""
    hers = pb.Pass(run="test", member="m", peer_id=b"p", role="volunteer", expires_at=NOW + issued + LIFETIME)
    hearing = Hearing()
    for now in (NOW + begins, NOW + begins + later):
        hearing.note(now, ["m"] if now < NOW + LIVES else [])
        assert admits(hers, b"p", now, hearing.heard_at, hearing.barred)


def test_a_pass_that_ended_long_ago_counts_in_no_process_that_has_just_started() -> None:
    """In its first minute a process let in whoever had ever had a pass, also who was banned since."""
    ended = pb.Pass(run="test", member="m", peer_id=b"p", role="volunteer", expires_at=NOW - 30 * 86400)
    hearing = Hearing()
    assert "not heard" in admits(PASS, b"p", NOW, hearing.heard_at, ())
    hearing.note(NOW)
    assert "expired" in admits(ended, b"p", NOW, hearing.heard_at, ())
    assert admits(PASS, b"p", NOW, hearing.heard_at, ()) == ""


def test_a_coordinator_that_starts_again_knows_when_it_was_there_last(tmp_path: Path) -> None:
    """After hours nobody's pass is valid, and everybody needs the node to hear of the others."""
    Papers(b"own", NOW - 7200).keep(tmp_path / "papers")
    papers = NodePapers("test", server_certificate(tmp_path), tuple, tmp_path / "papers", lambda: NOW)
    papers.begin(b"node")
    assert Papers.kept(papers.file).heard_at == NOW - 7200


def test_each_pass_of_a_node_is_asked_for_with_the_one_before(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def ask(_: bytes, earlier: bytes) -> dict[str, Any]:
        asked.append(earlier)
        return {"own": b"own".hex(), "heard_at": NOW, "barred": [], "certificate": "PEM"}

    renewal = Renewal(ask, tmp_path / "papers")
    renewal.begin(b"p")
    renewal._renew(b"p")
    assert asked == [b"", b"own"]


def test_a_worker_has_a_pass_before_it_begins_and_hears_who_is_barred(tmp_path: Path) -> None:
    answer = {"own": b"own".hex(), "heard_at": NOW, "barred": [], "certificate": "PEM"}
    renewal = Renewal(lambda *_: answer, tmp_path / "papers")
    assert renewal.begin(b"p") == "PEM"
    assert Papers.kept(tmp_path / "papers") == Papers(b"own", NOW)
    renewal.heard(NOW + 1, [], False)
    assert Papers.kept(tmp_path / "papers").heard_at == NOW  # no need to write that again
    renewal.heard(NOW + 2, ["m"], False)
    assert Papers.kept(tmp_path / "papers") == Papers(b"own", NOW + 2, frozenset({"m"}))


def test_a_pass_is_renewed_once_its_holder_is_on_probation_or_no_more(tmp_path: Path) -> None:
    asked = threading.Semaphore(0)

    def ask(*_: bytes) -> dict[str, Any]:
        asked.release()
        return {"own": "", "heard_at": NOW, "barred": [], "certificate": "PEM"}

    renewal = Renewal(ask, tmp_path / "papers")
    renewal.begin(b"p")
    assert asked.acquire(timeout=5)
    for light in (True, False):
        renewal.heard(NOW, [], light)
        assert asked.acquire(timeout=5)
        renewal.heard(NOW, [], light)
    assert not asked.acquire(timeout=0.2)


def test_a_worker_without_a_pass_does_not_begin_and_says_why(tmp_path: Path) -> None:
    def away(*_: bytes) -> dict[str, Any]:
        raise UnreachableError("Nobody answers.", "Wait.")

    with pytest.raises(UnreachableError, match=r"could not be entered.*Nobody answers"):
        Renewal(away, tmp_path / "papers").begin(b"p")


def test_the_coordinators_own_node_has_a_pass_in_time_and_hears_of_bans_at_once(tmp_path: Path) -> None:
    now, out, certificate = [NOW], list[str](), server_certificate(tmp_path)
    papers = NodePapers("test", certificate, lambda: out, tmp_path / "papers", lambda: now[0])
    papers.begin(b"node")
    keeper = Doorkeeper(Authority.of("test", certificate.certificate_pem), tmp_path / "papers", lambda: now[0])
    first = keeper.papers.own
    assert keeper.objection(b"node", first, {NODE}) == ""
    assert "may not" in keeper.objection(b"node", first)
    out.append("m")
    papers.keep()
    assert keeper.papers.barred == {"m"}
    assert keeper.papers.own == first
    for _ in range(10):
        now[0] += 31.0
        papers.keep()
    assert keeper.papers.own != first
    assert keeper.papers.heard_at >= now[0] - 31.0


def test_a_full_disk_does_not_end_the_watch_over_the_node(tmp_path: Path) -> None:
    papers = NodePapers("test", server_certificate(tmp_path), tuple, tmp_path / "nowhere" / "papers")
    papers.begin(b"node")
    (tmp_path / "nowhere").mkdir()
    papers.keep()
    assert Papers.kept(papers.file).own


def test_words_of_strangers_are_not_kept_however_many_they_send() -> None:
    asked: list[int] = []

    def open_(data: bytes) -> None:
        asked.append(len(data))

    look = remembered(1024, open_)
    tracemalloc.start()
    for number in range(200):
        assert look(number.to_bytes(4, "big") + bytes(1 << 20)) is None
        assert look(number.to_bytes(4, "big")) is look(number.to_bytes(4, "big"))
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert asked == [4] * 200
    assert kept < 1 << 20
