"""Whom a registry trusts with logins; gives tokens as https://distribution.github.io/distribution/spec/auth/ says."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "tests", "registry of tests"
PASSWORD = base64.b64encode(b"anna:secret").decode()
REFRESH = "an identity token"


@contextmanager
def token_realm(folder: Path) -> Iterator[dict[str, Any]]:
    """Serve tokens to who has PASSWORD or REFRESH; yields the registry's section `auth`."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key)
    (folder / "roots.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(key, certificate))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{server.server_port}/token"
    facts = {"realm": where, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(folder / "roots.pem")}
    try:
        yield {"token": facts}
    finally:
        server.shutdown()
        server.server_close()


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    valid = made.serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    return valid.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())


def _handler(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> type[BaseHTTPRequestHandler]:
    class Realm(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            self._answer(self.headers.get("Authorization") == f"Basic {PASSWORD}", asked["scope"][0])

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._answer(asked["refresh_token"] == [REFRESH], asked["scope"][0])

        def _answer(self, known: bool, scope: str) -> None:
            body = json.dumps({"access_token": _token(key, certificate, scope if known else "")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Realm


def _token(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, scope: str) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {"iss": ISSUER, "sub": "", "aud": SERVICE, "nbf": now - 60, "iat": now, "exp": now + 600}
    claims |= {"jti": "1", "access": []}
    if scope:
        kind, name, actions = scope.split(":")
        claims["access"] = [{"type": kind, "name": name, "actions": actions.split(",")}]
    chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
    signed = f"{_part({'typ': 'JWT', 'alg': 'ES256', 'x5c': chain})}.{_part(claims)}"
    first, second = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_plain(first.to_bytes(32, 'big') + second.to_bytes(32, 'big'))}"


def _part(value: dict[str, Any]) -> str:
    return _plain(json.dumps(value).encode())


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
