"""A volunteer's word to the page of a run: "I am the owner of this key", for a day at most.

It is signed for one run of one coordinator, and holds no secret: who has it may read that volunteer's own page until it
ends, and nothing else.
"""

from __future__ import annotations

import base64
import binascii

from swarm.errors import LoginError
from swarm.identity import Identity, framed, signed_with

LIFETIME = 86_400.0  # seconds
_CLOCKS = 120.0  # seconds that the clocks of volunteer and coordinator may differ
_PREFIX = b"garage-swarm page 1"  # what is signed can be nothing else
_KEY, _END, _SIGNATURE = 32, 8, 64  # bytes
_LETTERS = 139  # of base64url without padding
_REMEDY = "Make another link with `swarm page INVITE` on the machine that takes part."


def word(identity: Identity, run: str, fingerprint: str, now: float, life: float = LIFETIME) -> str:
    """In base64url. `fingerprint` is the coordinator's, as invites carry it; `now` Unix seconds, `life` seconds."""
    end = int(now + life).to_bytes(_END, "big")
    signature = identity.sign(_words(run, fingerprint, end))
    return _written(identity.public_key + end + signature)


def opened(text: str, run: str, fingerprint: str, now: float) -> bytes:
    """The public key whose owner signed it. Raises LoginError that says what is wrong with the word."""
    data = _decoded(text)
    key, end, signature = data[:_KEY], data[_KEY:-_SIGNATURE], data[-_SIGNATURE:]
    if not signed_with(key, _words(run, fingerprint, end), signature):
        raise LoginError("This link is for another run, or was altered.", _REMEDY)
    left = int.from_bytes(end, "big") - now
    if left <= 0:
        raise LoginError("This link has expired: it is good for a day.", _REMEDY)
    if left > LIFETIME + _CLOCKS:
        raise LoginError("This link would be good for more than a day, and is not taken.", _REMEDY)
    return key


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(f"{text}=" if len(text) == _LETTERS else "", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != _KEY + _END + _SIGNATURE or _written(data) != text:
        raise LoginError("This is no personal link, or a part of it is missing.", _REMEDY)
    return data


def _written(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _words(run: str, fingerprint: str, end: bytes) -> bytes:
    return framed(_PREFIX, run.encode(), fingerprint.encode(), end)
