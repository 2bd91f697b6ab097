"""What a node takes into the DHT: what a node with a pass says of itself, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.doorkeeper import Doorkeeper
from peer.exchange.authorizer import PassAuthorizer
from peer.exchange.nodekey import NodeKey, node_of, signed_by
from peer.exchange.records import Records, Said, key_of, opened
from peer.exchange.refusals import RefusedCallError
from swarm.identity import server_certificate
from swarm.papers import Papers
from swarm.passes import Authority
from tests.let_in import pass_for

from hivemind.dht.routing import DHTID  # isort: skip - after peer.exchange
from hivemind.dht.validation import DHTRecord  # isort: skip
from hivemind.proto import dht_pb2  # isort: skip
from hivemind.utils import MSGPackSerializer, get_dht_time  # isort: skip

RUN = "test"
RECORD = DHTRecord(b"", MSGPackSerializer.dumps(b"node"), b"", 0.0)


@dataclass
class One:
    """A node with its papers."""

    key: NodeKey
    doorkeeper: Doorkeeper

    @property
    def records(self) -> Records:
        return Records(RUN, self.doorkeeper, self.key)

    def record(self, kind: str = "members", value: object = "said", seconds: float = 30.0) -> DHTRecord:
        """As it stores one of its own."""
        where = DHTID.generate(key_of(RUN, kind)).to_bytes()
        subkey = MSGPackSerializer.dumps(self.key.peer_id)
        plain = DHTRecord(where, subkey, MSGPackSerializer.dumps(value), get_dht_time() + seconds)
        return replace(plain, value=self.records.sign_value(plain))


def one(folder: Path, name: str, **facts: object) -> One:
    key = NodeKey.made(folder / f"{name}.key")
    usual = {"peer_id": key.peer_id, "member": name, **facts}
    Papers(pass_for(folder, **usual), time.time()).keep(folder / f"{name}.papers")  # type: ignore[arg-type]
    authority = Authority.of(RUN, server_certificate(folder).certificate_pem)
    return One(key, Doorkeeper(authority, folder / f"{name}.papers"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="module")
def ada(folder: Path) -> One:
    return one(folder, "ada")


@pytest.fixture(scope="module")
def bob(folder: Path) -> One:
    return one(folder, "bob")


def test_a_members_own_record_is_taken_and_read_with_its_pass(ada: One, bob: One) -> None:
    for kind, value in (("members", [1.0, False]), ("handover", "text")):
        record = ada.record(kind, value)
        assert bob.records.validate(record)
        assert len(record.value) < 1400
        stripped = MSGPackSerializer.loads(bob.records.strip_value(record))
        assert opened(stripped, True) == (value, ada.doorkeeper.papers.own)


def changed(**said: bytes) -> Callable[[DHTRecord], DHTRecord]:
    def change(record: DHTRecord) -> DHTRecord:
        found = Said.of(record.value)
        assert found
        return replace(record, value=replace(found, **said).packed())

    return change


REFUSED: dict[str, Callable[[DHTRecord], DHTRecord]] = {
    "a key of nobody's": lambda record: replace(record, key=DHTID.generate("x").to_bytes()),
    "another lineage's old key": lambda record: replace(record, key=DHTID.generate("test.members.1").to_bytes()),
    "no subkey": lambda record: replace(record, subkey=MSGPackSerializer.dumps(None)),
    "another node's place": lambda record: replace(record, subkey=MSGPackSerializer.dumps(b"other")),
    "a subkey that is written otherwise": lambda record: replace(record, subkey=record.subkey + b"\x00"),
    "a later end": lambda record: replace(record, expiration_time=record.expiration_time + 1),
    "an end in a year": lambda record: replace(record, expiration_time=record.expiration_time + 365 * 86400),
    "another value": changed(body=MSGPackSerializer.dumps("other")),
    "a value that is none": changed(body=b"\xc1"),
    "no pass": changed(pass_=b""),
    "no signature": changed(signature=b""),
    "another signature": changed(signature=b"A" * 344),
    "no key": changed(public=b"x"),
    "no envelope": lambda record: replace(record, value=MSGPackSerializer.dumps("said")),
    "nonsense": lambda record: replace(record, value=b"\xc1\xc1"),
    "too much": lambda record: replace(record, value=bytes(17_000)),
}


@pytest.mark.parametrize(
    ("kind", "value", "seconds"), [("members", "x", 300.0), ("members", "x" * 2000, 30.0), ("handover", "x", 86400.0)]
)
def test_a_record_that_is_larger_or_lasts_longer_than_any_of_its_kind_is_refused(
    kind: str, value: str, seconds: float, ada: One, bob: One
) -> None:
    """Three hundred of 15 kB, of one member and for a day, made every answer about the members too large to send."""
    assert not bob.records.validate(ada.record(kind, value, seconds))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_members_own_word_is_refused(name: str, ada: One, bob: One) -> None:
    record = ada.record()
    assert bob.records.validate(record)
    assert not bob.records.validate(REFUSED[name](record))


@given(value=st.binary(max_size=300))
def test_no_bytes_are_a_record_by_chance(bob: One, value: bytes) -> None:
    record = replace(RECORD, key=DHTID.generate(key_of(RUN, "members")).to_bytes(), value=value)
    assert not bob.records.validate(record)


def test_a_large_value_of_a_member_is_refused(ada: One, bob: One) -> None:
    assert not bob.records.validate(ada.record("handover", "x" * 16_000))


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"run": "other"}, "members"),
        ({"peer_id": b"somebody else"}, "members"),
        ({"role": "node"}, "members"),
        ({"role": "volunteer"}, "relays"),
        ({"role": "stranger"}, "handover"),
    ],
    ids=str,
)
def test_a_record_needs_a_pass_for_it(facts: dict[str, object], kind: str, folder: Path, bob: One) -> None:
    stranger = one(folder, f"stranger-{kind}-{next(iter(facts.values()))!r}".replace(" ", ""), **facts)
    assert not bob.records.validate(stranger.record(kind))


def test_the_coordinators_node_offers_its_relay_and_says_where_the_run_is_led(folder: Path, bob: One) -> None:
    node = one(folder, "node", role="node")
    assert bob.records.validate(node.record("relays", True))
    assert bob.records.validate(node.record("handover", "text"))


def test_the_record_of_somebody_who_was_barred_does_not_take_the_others_with_it(folder: Path, ada: One) -> None:
    """hivemind refuses all records of an answer when one is refused: a ban is looked at where they are used."""
    cut = one(folder, "cut")
    Papers(cut.doorkeeper.papers.own, time.time(), frozenset({"ada"})).keep(folder / "cut.papers")
    assert cut.records.validate(ada.record())


def test_a_key_speaks_for_its_node_only(ada: One, bob: One) -> None:
    assert node_of(ada.key.public) == ada.key.peer_id != node_of(bob.key.public)
    assert signed_by(ada.key.public, b"words", ada.key.sign(b"words"))
    assert not signed_by(bob.key.public, b"words", ada.key.sign(b"words"))
    assert node_of(b"nonsense") == b""
    assert node_of(bytes(5000)) == b""


def ask(caller: One, called: One, more: bytes = b"", times: int = 1, keys: int = 1) -> bool:
    """Whether a request is answered, the last time that it is sent; `more` is put in after it was signed."""

    async def asked() -> bool:
        request, authorizer = dht_pb2.FindRequest(keys=[b"k"] * keys), PassAuthorizer(called.doorkeeper, called.key)
        await PassAuthorizer(caller.doorkeeper, caller.key).sign_request(request, None)
        if more:
            request.keys.append(more)
        sent = request.SerializeToString()
        return [await authorizer.validate_request(dht_pb2.FindRequest.FromString(sent)) for _ in range(times)][-1]

    return asyncio.run(asked())


def test_a_members_request_is_answered_once(ada: One, bob: One) -> None:
    assert ask(ada, bob)
    with pytest.raises(RefusedCallError, match="came before"):
        ask(ada, bob, times=2)


def test_a_request_does_not_name_a_key_again_and_again(ada: One, bob: One) -> None:
    """440 kB that named the members' key 20,000 times were answered with 178 MB, and 0.9 GB were taken for it."""
    assert ask(ada, bob, keys=16)
    with pytest.raises(RefusedCallError, match="more than 16 keys"):
        ask(ada, bob, keys=17)


def test_a_request_that_was_altered_or_carries_anothers_pass_is_refused(folder: Path, ada: One, bob: One) -> None:
    with pytest.raises(RefusedCallError, match="not signed"):
        ask(ada, bob, more=b"more")
    with pytest.raises(RefusedCallError, match="another node"):
        ask(one(folder, "thief", peer_id=ada.key.peer_id, member="ada"), bob)
    with pytest.raises(RefusedCallError, match="no pass"):
        asyncio.run(PassAuthorizer(bob.doorkeeper, bob.key).validate_request(dht_pb2.FindRequest(keys=[b"k"])))


def test_a_renewed_pass_is_shown_from_then_on_and_a_ban_counts_at_once(folder: Path, bob: One) -> None:
    eve = one(folder, "eve", issued_at=0, expires_at=1)
    with pytest.raises(RefusedCallError, match="expired"):
        ask(eve, bob)
    Papers(pass_for(folder, eve.key.peer_id, member="eve"), time.time()).keep(folder / "eve.papers")
    assert ask(eve, bob)
    Papers(bob.doorkeeper.papers.own, time.time(), frozenset({"eve"})).keep(folder / "bob.papers")
    with pytest.raises(RefusedCallError, match="banned"):
        ask(eve, bob)
