"""What a pull takes from a registry: its manifest, a bundle's own, and whom to ask for a token."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from swarm.bundle import logins, manifest, oci
from swarm.bundle.logins import Challenge, Login
from swarm.bundle.push import packed
from tests.fuzz.run import Decoder
from tests.small_bundle import small_bundle

_MEMORY = 64 << 20  # bytes
_HEADER = b'Bearer realm="https://auth.example.org/token",service="registry",scope="repository:a/b:pull"'


def decoders() -> list[Decoder]:
    """The rows."""
    own, outer = _seeds()
    return [
        Decoder("registry: manifest", lambda data: oci.parse(data, "x"), (outer,), 1 << 20, _MEMORY),
        Decoder("registry: bundle.json", manifest.parse, (own,), 1 << 20, _MEMORY),
        Decoder("registry: challenge", _challenged, (_HEADER, b"Basic realm=x"), 64 << 10, _MEMORY),
        Decoder("registry: token", lambda data: logins.token(data, "x"), (b'{"token": "t"}',), 1 << 20, _MEMORY),
    ]


def _challenged(data: bytes) -> object:
    return Challenge.of(data.decode("latin-1")).token_request(Login("a", "b"), "repository:a/b:pull")


@cache
def _seeds() -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = small_bundle(Path(folder))
        return bundle.to_bytes(), packed(Path(folder)).manifest
