"""Whom a node knows with a pass: an unknown caller is looked for, seldom, and few wait for that."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peer.doorkeeper import Doorkeeper
from peer.exchange.node import Node
from peer.exchange.roll import Passes, Roll
from peer.exchange.rounds import Member
from peer.seals import Claim
from swarm.identity import server_certificate
from swarm.papers import Papers
from swarm.passes import Authority
from tests.let_in import pass_for


class Swarm:
    """A roll, and records that it finds when it looks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[bytes, bytes] = {}
        self.looks: list[float] = []
        self.papers(frozenset())
        authority = Authority.of("test", server_certificate(folder).certificate_pem)
        self.roll = Roll(Doorkeeper(authority, folder / "papers"))
        self.roll.look = self.look

    def papers(self, barred: frozenset[str]) -> None:
        Papers(b"", time.time(), barred).keep(self.folder / "papers")

    async def look(self) -> None:
        self.looks.append(time.monotonic())
        for peer, shown in self.records.items():
            self.roll.note(peer, shown)

    def joins(self, peer: bytes) -> None:
        self.records[peer] = pass_for(self.folder, peer, member=peer.decode(), public_key=b"k" * 32)


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return Swarm(tmp_path)


def test_a_newcomer_is_found_and_not_looked_for_again(swarm: Swarm) -> None:
    swarm.joins(b"new")

    async def calls() -> list[str]:
        return [await swarm.roll.admit(b"new") for _ in range(5)]

    assert asyncio.run(calls()) == [""] * 5
    assert len(swarm.looks) == 1


def test_a_newcomer_is_found_also_when_the_look_under_way_began_too_early(swarm: Swarm) -> None:
    async def calls() -> str:
        stranger = asyncio.ensure_future(swarm.roll.admit(b"stranger"))
        await asyncio.sleep(0.05)
        assert len(swarm.looks) == 1
        swarm.joins(b"new")
        found = await swarm.roll.admit(b"new")
        assert await stranger
        return found

    assert asyncio.run(calls()) == ""


def test_a_stranger_costs_a_look_in_a_second_however_often_it_calls(swarm: Swarm) -> None:
    async def calls() -> list[str]:
        return list(await asyncio.gather(*(swarm.roll.admit(b"stranger") for _ in range(100))))

    began = time.monotonic()
    said = asyncio.run(calls())
    assert all(said)
    assert sum("wait already" in why for why in said) == 92
    assert len(swarm.looks) <= 1 + time.monotonic() - began


def test_a_barred_member_is_refused_at_once_and_without_a_look(swarm: Swarm) -> None:
    swarm.joins(b"new")
    assert asyncio.run(swarm.roll.admit(b"new")) == ""
    swarm.papers(frozenset({"new"}))
    assert "banned" in asyncio.run(swarm.roll.admit(b"new"))
    assert len(swarm.looks) == 1


def test_a_members_key_is_the_one_in_its_pass(swarm: Swarm) -> None:
    swarm.joins(b"new")
    claim = Claim(0, "", "", 1, "new", b"new")
    passes = Passes(swarm.roll)
    assert "no pass" in passes.objection(claim, b"k" * 32)
    asyncio.run(swarm.look())
    assert passes.objection(claim, b"k" * 32) == ""
    assert "not that of" in passes.objection(claim, b"x" * 32)
    assert "not that of" in passes.objection(Claim(0, "", "", 1, "other", b"new"), b"k" * 32)


def test_without_a_doorkeeper_everybody_is_let_in() -> None:
    roll = Roll()
    roll.note(b"p", b"x")
    assert asyncio.run(roll.admit(b"p")) == ""


class Dht:
    """Gives records as hivemind does, each with the pass of the node that wrote it."""

    def __init__(self, records: dict[bytes, tuple[object, bytes]]) -> None:
        self._records = records

    async def get(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(
            value={peer: SimpleNamespace(value=list(record)) for peer, record in self._records.items()}
        )


def test_nobody_is_a_member_or_says_goodbye_in_anothers_name(swarm: Swarm) -> None:
    """Without this a member could talk another out of the vote on who makes the next round."""
    ids = {name: b"\x12\x20" + hashlib.sha256(name.encode()).digest() for name in ("ada", "bob", "eve", "gone", "old")}
    shown = {name: pass_for(swarm.folder, peer, member=name) for name, peer in ids.items()}
    records: dict[bytes, tuple[object, bytes]] = {
        ids["ada"]: ([1.0, False, True, "ada", 0], shown["ada"]),
        ids["bob"]: (["bob", 3, 0], shown["bob"]),
        ids["eve"]: ([1.0, False, True, "ada", 0], shown["eve"]),
        ids["gone"]: (["ada", 3, 0], shown["gone"]),
        ids["old"]: ([1.0, False, True, "old", 1], shown["old"]),
    }
    me = Member(0.0, b"me", member="me")
    node = Node(Dht(records), None, "test", me, roll=swarm.roll)  # type: ignore[arg-type]
    asyncio.run(node.refresh())
    assert [member.peer_id for member in node.members()] == [b"me", ids["ada"]]
    assert node.left == {"bob": 3}
    swarm.papers(frozenset({"ada"}))
    assert node.members() == [me]


def test_who_is_on_probation_is_known_by_its_pass_alone(swarm: Swarm) -> None:
    ids = {name: b"\x12\x20" + hashlib.sha256(name.encode()).digest() for name in ("ada", "bob")}
    records: dict[bytes, tuple[object, bytes]] = {
        peer: ([1.0, False, True, name, 0], pass_for(swarm.folder, peer, member=name, probation=name == "bob"))
        for name, peer in ids.items()
    }
    node = Node(Dht(records), None, "test", Member(0.0, b"me", member="me"), roll=swarm.roll)  # type: ignore[arg-type]
    asyncio.run(node.refresh())
    assert {member.member for member in node.members() if member.light} == {"bob"}
