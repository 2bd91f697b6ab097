"""The audit log: what it keeps, that it stays small whatever happens, and that no token is in it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator import audit
from coordinator import decisions as d
from coordinator.audit import FILE, Audit, read
from coordinator.ledger import Return
from coordinator.records import RollBack
from swarm.errors import BannedError, NotFoundError, OverloadError
from swarm.proto import coordinator_pb2 as pb

NOW = 1_700_000_000.0
BANNED = BannedError("The maintainer banned this key.", "Ask.")


class Kept:
    """A log, its folder, and a clock that is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.folder = folder
        self.log = Audit(folder, lambda: self.now)

    def lines(self) -> list[dict[str, Any]]:
        return list(read(self.folder))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    found = Kept(tmp_path)
    yield found
    found.log.close()


def test_it_says_who_did_what_when_and_from_where(kept: Kept) -> None:
    kept.log.done("Join", "c0ffee42", "192.0.2.1", pb.JoinRequest(), pb.JoinResponse(member_id="ab"))
    kept.log.done("Heartbeat", "c0ffee42", "192.0.2.1", pb.HeartbeatRequest(), pb.HeartbeatResponse())
    made = pb.MakeInviteResponse(token="secret", invite=pb.InviteRecord(id="1a2b", role="validator"))
    kept.log.done("MakeInvite", "c0ffee42", "192.0.2.1", pb.MakeInviteRequest(), made)
    kept.log.refused("Join", "", "192.0.2.7", "", BANNED)
    kept.log.refused("Download", "", "192.0.2.7", "", NotFoundError("No such file."))
    at = {"at": "2023-11-14T22:13:20+00:00", "invite": "c0ffee42", "address": "192.0.2.1"}
    assert kept.lines() == [
        {**at, "call": "Join", "about": "ab", "why": ""},
        {**at, "call": "MakeInvite", "about": "1a2b", "why": "for a validator"},
        {
            **at,
            "call": "Join",
            "invite": "",
            "address": "192.0.2.7",
            "about": "",
            "refused": "BANNED",
            "why": BANNED.what,
        },
    ]
    assert "secret" not in (kept.folder / FILE).read_text()
    assert stat.S_IMODE((kept.folder / FILE).stat().st_mode) == 0o600


def test_when_the_run_went_back_stands_in_it(kept: Kept) -> None:
    kept.log.decided(d.WentBack(Return(4, 9), 7, (), "most members diverged"))
    kept.log.decided(d.RolledBack(RollBack(1, 5, 4, 1, "most members diverged", halted=True)))
    kept.log.decided(d.LeaseDenied("later"))
    assert ["diverged" in line["why"] for line in kept.lines()] == [True, True]


def test_a_flood_of_refusals_is_counted_and_not_written(kept: Kept) -> None:
    for number in range(1000):
        kept.log.refused("GetRun", "", f"192.0.2.{number % 100}", "", OverloadError("Too often."))
    assert len(kept.lines()) == audit._ALL
    kept.now += 61
    kept.log.refused("GetRun", "", "192.0.2.1", "", BANNED)
    assert kept.lines()[-1]["left_out"] == 1000 - audit._ALL
    for _ in range(100):
        kept.log.refused("GetRun", "", "192.0.2.9", "", BANNED)
    assert len(kept.lines()) == audit._ALL + 1 + audit._EACH


def test_it_takes_no_more_than_its_room_and_keeps_the_newest(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_BYTES", 2000)
    log = Audit(kept.folder)
    for number in range(500):
        log.done("Leave", "c0ffee42", "192.0.2.1", pb.LeaveRequest(member_id=f"m{number}"), pb.LeaveResponse())
    log.close()
    sizes = [path.stat().st_size for path in kept.folder.iterdir()]
    assert len(sizes) == 5
    assert max(sizes) <= 2000
    found = [line["about"] for line in kept.lines()]
    assert found == [f"m{number}" for number in range(500 - len(found), 500)]


def test_what_callers_say_is_one_line_and_torn_lines_are_left_out(kept: Kept) -> None:
    said = pb.LeaveRequest(member_id="x" * 4000, reason="\x1b[2J\n{}" + "y" * 4000)
    kept.log.done("Leave", "c0ffee42", "192.0.2.1", said, pb.LeaveResponse())
    with (kept.folder / FILE).open("a") as file:
        file.write(json.dumps("no object") + '\n{"at": "20')
    [line] = kept.lines()
    assert line["why"].isprintable()
    assert (len(line["about"]), len(line["why"])) == (300, 300)
