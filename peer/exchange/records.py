"""What may be stored in the run's DHT: records that a node with a pass says of itself, signed by it, with its pass.

hivemind looks only at a record's expiry. One whose value cannot be unpacked would make every look-up of its key fail,
for all members, for as long as it lives (`Readable`).

Whether that pass still counts is asked where a record is written (`authorizer.py`) and where it is used (`roll.py`),
and not here: records travel together, and who was barred a moment ago must not take the others' with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from peer.doorkeeper import ANYBODY, MEMBERS, Doorkeeper
from peer.exchange import guard
from peer.exchange.nodekey import NodeKey, node_of, signed_by
from swarm.identity import framed
from swarm.passes import NODE

guard.prepare()

from hivemind.dht.routing import DHTID  # noqa: E402
from hivemind.dht.validation import DHTRecord, RecordValidatorBase  # noqa: E402
from hivemind.utils import MSGPackSerializer, get_dht_time  # noqa: E402

LARGEST = 16 << 10  # bytes of any value
_SUBKEY = 128  # bytes; the subkeys of a run are peer ids
_SAID = b"garage-swarm record 1"  # what is signed can be nothing else


@dataclass(frozen=True)
class _Kind:
    """Who writes such records, how large they are at most, and how long they live; clocks differ by a minute. All who
    look a key up get all of its records in one answer, so that many, large and lasting ones would keep it from them.
    """

    roles: Collection[str]
    bytes: int
    seconds: float


_KINDS = {
    "members": _Kind(MEMBERS, 2 << 10, 180.0),
    "relays": _Kind({NODE}, 2 << 10, 180.0),
    "handover": _Kind(ANYBODY, LARGEST, 2 * 3600.0),
}


class Readable(RecordValidatorBase):
    """Takes what can be unpacked and is no larger than what members write."""

    def validate(self, record: DHTRecord) -> bool:
        if len(record.value) > LARGEST or len(record.subkey) > _SUBKEY:
            return False
        try:
            hash(MSGPackSerializer.loads(record.subkey)) if record.subkey else None
            MSGPackSerializer.loads(record.value)
        except Exception:  # of many kinds: it is a stranger's record
            return False
        return True


def key_of(run: str, kind: str) -> str:
    """Where the records of a kind are."""
    return f"{run}.{kind}"


@dataclass(frozen=True)
class Said:
    """A record as it travels: `body` is a value in MessagePack, `pass_` a SignedPass."""

    body: bytes
    pass_: bytes
    public: bytes
    signature: bytes = b""

    def packed(self) -> bytes:
        data: bytes = MSGPackSerializer.dumps([self.body, self.pass_, self.public, self.signature])
        return data

    @classmethod
    def of(cls, value: bytes) -> Said | None:
        """None for other bytes."""
        match _loaded(value):
            case [bytes(body), bytes(pass_), bytes(public), bytes(signature)]:
                return cls(body, pass_, public, signature)
        return None


class Records(RecordValidatorBase):
    """Signs the records of one node, and looks at everybody's, before other validators look at what is in them."""

    priority = 10

    def __init__(self, run: str, doorkeeper: Doorkeeper, key: NodeKey) -> None:
        self._doorkeeper = doorkeeper
        self._key = key
        self._kinds = {DHTID.generate(key_of(run, name)).to_bytes(): kind for name, kind in _KINDS.items()}

    def sign_value(self, record: DHTRecord) -> bytes:
        said = Said(record.value, self._doorkeeper.papers.own, self._key.public)
        signature = self._key.sign(_words(record, said))
        return Said(said.body, said.pass_, said.public, signature).packed()

    def strip_value(self, record: DHTRecord) -> bytes:
        """The value and its pass; see `opened`."""
        said = Said.of(record.value) or Said(MSGPackSerializer.dumps(None), b"", b"")
        data: bytes = MSGPackSerializer.dumps([_loaded(said.body), said.pass_])
        return data

    def validate(self, record: DHTRecord) -> bool:
        kind = self._kinds.get(record.key)
        said = Said.of(record.value) if kind and len(record.value) <= kind.bytes else None
        if kind is None or said is None or record.expiration_time > get_dht_time() + kind.seconds:
            return False
        pass_, node = self._doorkeeper.opened(said.pass_), node_of(said.public)
        if pass_ is None or pass_.peer_id != node or pass_.role not in kind.roles:
            return False
        own = bool(record.subkey == MSGPackSerializer.dumps(node)) and _loaded(said.body) is not None
        return own and signed_by(said.public, _words(record, said), said.signature)


def opened(value: object, checked: bool) -> tuple[object, bytes]:
    """A value that was stored, and the pass of who stored it, where records are `checked`."""
    if not checked:
        return value, b""
    match value:
        case [body, bytes(pass_)]:
            return body, pass_
    return None, b""


def _words(record: DHTRecord, said: Said) -> bytes:
    return framed(_SAID, record.key, record.subkey, said.body, repr(float(record.expiration_time)).encode())


def _loaded(data: bytes) -> object:
    """What MessagePack holds; None when it is none."""
    try:
        found: object = MSGPackSerializer.loads(data)
    except Exception:  # of many kinds: it is a stranger's record
        return None
    return found
