"""A node's libp2p key, with which it signs what it says in the DHT; the key makes the node's id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey as Key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_ssh_public_key,
)
from google.protobuf.message import DecodeError

from peer.exchange import guard

guard.prepare()

from hivemind.p2p import P2P, PeerID  # noqa: E402
from hivemind.proto import crypto_pb2  # noqa: E402
from hivemind.utils.crypto import RSAPrivateKey, RSAPublicKey  # noqa: E402

_SHA256 = b"\x12\x20"  # how the multihash of a SHA-256 begins
_LARGEST = 1024  # bytes of a public key


@dataclass(frozen=True)
class NodeKey:
    """`public` is in OpenSSH's format."""

    private: RSAPrivateKey
    public: bytes
    peer_id: bytes

    @classmethod
    def made(cls, path: Path) -> NodeKey:
        """A new one, kept in the file, from which p2pd takes it. Raises OSError."""
        P2P.generate_identity(str(path))
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> NodeKey:
        """Raises OSError, ValueError when the file holds none."""
        data = path.read_bytes()
        try:
            der = crypto_pb2.PrivateKey.FromString(data).data
        except DecodeError as error:
            raise ValueError(f"{path} holds no key of a node") from error
        private = RSAPrivateKey.__new__(RSAPrivateKey)  # hivemind's own one makes a key, and reads none
        private._private_key = load_der_private_key(der, password=None)
        return cls(private, private.get_public_key().to_bytes(), PeerID.from_identity(data).to_bytes())

    def sign(self, words: bytes) -> bytes:
        signature: bytes = self.private.sign(words)
        return signature


@lru_cache(1024)
def _public(data: bytes) -> tuple[bytes, RSAPublicKey] | None:
    """A key with the id of its node; None when these bytes are no key."""
    try:
        key = load_ssh_public_key(data) if len(data) <= _LARGEST else None
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, Key):
        return None
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    named = crypto_pb2.PublicKey(key_type=crypto_pb2.RSA, data=der).SerializeToString()
    return _SHA256 + hashlib.sha256(named).digest(), RSAPublicKey(key)


def node_of(public: bytes) -> bytes:
    """The id of the node whose public key this is; nothing when it is none."""
    found = _public(public)
    return found[0] if found else b""


def signed_by(public: bytes, words: bytes, signature: bytes) -> bool:
    """Whether the key's owner signed these words."""
    found = _public(public)
    return found is not None and bool(found[1].verify(words, signature))
