"""To whom a registry's password goes: to the registry and to whom it names, and to no host that it sends us on to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from urllib3 import HTTPResponse

from swarm.bundle import http
from swarm.bundle.reference import Reference
from swarm.bundle.registry import Registry
from swarm.errors import RefusedError, SwarmError, UnreachableError

LOGIN = base64.b64encode(b"anna:secret of the registry").decode()
Says = Callable[[str], tuple[int, dict[str, str], bytes]]  # to what path: the answer


@contextmanager
def host(says: Says, seen: list[str]) -> Iterator[int]:
    """A web server on this machine; `seen` is what it was told of logins. Its port."""

    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            status, headers, body = says(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Registry]:
    """The registry at a port of this machine, for which there is a password."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")

    def registry(port: int) -> Registry:
        where = f"localhost:{port}"
        (tmp_path / "config.json").write_text(json.dumps({"auths": {where: {"auth": LOGIN}}}))
        return Registry.of(Reference.of(f"{where}/a/b:1"), True, writes=False)

    return registry


def challenge(realm: str) -> tuple[int, dict[str, str], bytes]:
    return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b""


def test_a_host_to_which_a_registry_redirects_gets_no_password(known: Callable[[int], Registry]) -> None:
    heard: list[str] = []
    own: list[int] = []

    def evil(path: str) -> tuple[int, dict[str, str], bytes]:
        return (200, {}, b'{"token":"t"}') if "token" in path else challenge(f"http://127.0.0.1:{own[0]}/token")

    with host(evil, heard) as port, host(lambda _: (307, {"Location": f"http://127.0.0.1:{port}/blob"}, b""), []) as at:
        own.append(port)
        with pytest.raises(RefusedError):
            known(at).manifest()
    assert heard == [""], "it was asked once, and told nothing"


def test_whom_the_registry_names_gets_the_password_and_sends_it_nowhere(known: Callable[[int], Registry]) -> None:
    told: list[str] = []
    elsewhere: list[str] = []
    with host(lambda _: (200, {}, b'{"token":"t"}'), elsewhere) as other:
        onward = {"Location": f"http://127.0.0.1:{other}/token"}
        with host(lambda _: (307, onward, b""), told) as realm:
            asked = challenge(f"http://127.0.0.1:{realm}/token")
            with host(lambda _: asked, []) as at, pytest.raises(SwarmError):
                known(at).manifest()
    assert told == [f"Basic {LOGIN}"]
    assert elsewhere == []


@pytest.mark.parametrize(
    ("onward", "safe"), [("http://127.0.0.1/x", False), ("https://127.0.0.1/x", True), ("/x", True)]
)
def test_no_redirect_leads_out_of_tls(onward: str, safe: bool) -> None:
    answer = HTTPResponse(status=307, headers={"Location": onward})
    with nullcontext() if safe else pytest.raises(UnreachableError, match="without TLS"):
        http._PATIENCE.increment("GET", "https://registry.example/v2/", response=answer)
