"""Which records this node's DHT takes from others: anybody may write there.

hivemind looks only at a record's expiry. One whose value cannot be unpacked would then make every look-up of its key
fail, for all members, for as long as it lives.
"""

from __future__ import annotations

from peer.exchange import guard

guard.prepare()

from hivemind.dht.validation import DHTRecord, RecordValidatorBase  # noqa: E402
from hivemind.utils import MSGPackSerializer  # noqa: E402

LARGEST = 16 << 10  # bytes of a value; the largest is a hand-over of about two thousand
_SUBKEY = 128  # bytes; the subkeys of a run are peer ids


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
