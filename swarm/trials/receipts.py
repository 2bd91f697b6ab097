"""Receipts for units: the coordinator's signed word that an answer told the same as others', or that it did not.

They are kept and verified as those for rounds (`swarm.receipts`), in a file of their own.
"""

from __future__ import annotations

from pathlib import Path

from swarm.identity import ServerCertificate
from swarm.proto import coordinator_pb2 as pb
from swarm.receipts import proven

FILE = "trial-receipts.jsonl"
_PREFIX = b"garage-swarm trial 1"  # what is signed can be nothing else


def signed(receipt: pb.TrialReceipt, certificate: ServerCertificate) -> pb.SignedReceipt:
    """The coordinator's word, signed."""
    words = receipt.SerializeToString(deterministic=True)
    return pb.SignedReceipt(receipt=words, signature=certificate.sign(_PREFIX + words))


def verified(path: Path, fingerprint: str = "") -> list[pb.TrialReceipt]:
    """What a file proves, by run, key and number; see `swarm.receipts.verified`. Raises CorruptError, DiskError."""
    _, words = proven(path, fingerprint, _PREFIX, pb.TrialReceipt.FromString)
    newest = {(one.run, one.member_id, one.number): one for one in words}
    return [newest[key] for key in sorted(newest)]
