"""Receipts: the coordinator's signed word that a member's update counted in a round, or why not.

A member keeps them in a file, a line of JSON each, behind a line with the coordinator's certificate. So anybody who
knows the run's fingerprint, which every invite carries, can verify them without the coordinator.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import DecodeError

from swarm.errors import CorruptError, from_os_error
from swarm.identity import ServerCertificate, certificate_of, fingerprint, signed_by
from swarm.proto import coordinator_pb2 as pb

_Receipt = TypeVar("_Receipt")

FILE = "receipts.jsonl"
_NONSENSE = (ValueError, KeyError, TypeError, RecursionError)  # of what is no JSON of ours
_PREFIX = b"garage-swarm receipt 1"  # what is signed can be nothing else


@dataclass(frozen=True)
class Receipts:
    """Verified ones: of which coordinator (its fingerprint), newest word for each round, in the order of rounds."""

    fingerprint: str
    found: Sequence[pb.RoundReceipt]


def signed(receipt: pb.RoundReceipt, certificate: ServerCertificate) -> pb.SignedReceipt:
    """The coordinator's word, signed."""
    words = receipt.SerializeToString(deterministic=True)
    return pb.SignedReceipt(receipt=words, signature=certificate.sign(_PREFIX + words))


def keep(path: Path, certificate: bytes, receipts: Iterable[pb.SignedReceipt]) -> None:
    """Append to the member's file; `certificate` is the coordinator's, PEM. Raises DiskError."""
    lines = [json.dumps({"receipt": _text(one.receipt), "signature": _text(one.signature)}) for one in receipts]
    try:
        with path.open("a+b") as file:
            if not file.seek(0, os.SEEK_END):
                lines.insert(0, json.dumps({"certificate": certificate.decode()}))
            elif file.seek(-1, os.SEEK_END) and file.read() != b"\n":
                lines.insert(0, "")  # the last line was torn by a crash
            file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
    except OSError as error:
        raise from_os_error(error, "keeping receipts") from error


def verified(path: Path, fingerprint_: str = "") -> Receipts:
    """What a file proves. With `fingerprint_` it must be of that coordinator.

    Lines that a crash cut off are left out. Raises CorruptError, which names the line, when another was not
    signed by the coordinator of the first line; DiskError.
    """
    own, words = proven(path, fingerprint_, _PREFIX, pb.RoundReceipt.FromString)
    newest = {(one.run, one.member_id, one.lineage, one.round): one for one in words}
    return Receipts(own, sorted(newest.values(), key=lambda one: (one.run, one.lineage, one.round, one.member_id)))


def proven(
    path: Path, fingerprint_: str, prefix: bytes, parse: Callable[[bytes], _Receipt]
) -> tuple[str, list[_Receipt]]:
    """The coordinator's fingerprint, and all receipts of one kind in their order: `prefix` is what was signed before
    their words. Raises as `verified`.
    """
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise from_os_error(error, "reading receipts") from error
    certificate = _certificate(path, lines)
    own = fingerprint(certificate.public_bytes(Encoding.DER))
    if fingerprint_ not in ("", own):
        raise _damaged(path, 1, "it is of another coordinator than the invite names")
    return own, list(_all(path, lines, certificate, prefix, parse))


def samples(receipt: pb.RoundReceipt, counted: bool) -> int:
    """How many samples counted, or how many did not."""
    return sum(part.range.stop - part.range.start for part in receipt.parts if part.counted is counted)


def why(receipt: pb.RoundReceipt) -> str:
    """Why some did not count."""
    return "; ".join(dict.fromkeys(part.why for part in receipt.parts if not part.counted and part.why))


def _all(
    path: Path, lines: Sequence[str], certificate: x509.Certificate, prefix: bytes, parse: Callable[[bytes], _Receipt]
) -> Iterator[_Receipt]:
    for number, line in enumerate(lines[1:], start=2):
        try:
            said = json.loads(line)
            words = base64.b64decode(said["receipt"], validate=True)
            signature = base64.b64decode(said["signature"], validate=True)
            receipt = parse(words)
        except (*_NONSENSE, DecodeError) as error:
            if _cut_off(lines, number):
                continue
            raise _damaged(path, number, "it is not a receipt") from error
        if not signed_by(certificate, prefix + words, signature):
            raise _damaged(path, number, "the run's coordinator did not sign it")
        yield receipt


def _cut_off(lines: Sequence[str], number: int) -> bool:
    """Whether a crash may have ended the line."""
    return number == len(lines) or not lines[number - 1].endswith("}")


def _certificate(path: Path, lines: Sequence[str]) -> x509.Certificate:
    try:
        return certificate_of(json.loads(lines[0])["certificate"].encode())
    except (*_NONSENSE, IndexError, AttributeError) as error:
        raise _damaged(path, 1, "it does not begin with a coordinator's certificate") from error


def _damaged(path: Path, line: int, why_: str) -> CorruptError:
    return CorruptError(
        f"{path}, line {line}: {why_}.", "Nothing that the file says is proven; take a copy that was not altered."
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
