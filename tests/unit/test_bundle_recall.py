"""Recall: who is believed, what is remembered, and that a silent address holds nothing up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from swarm.bundle import recall
from swarm.bundle.keys import Signer
from swarm.bundle.recall import Asked, Notice, believed, check, signed
from swarm.bundle.verify import verified
from swarm.errors import CorruptError, RecalledError
from tests import bundles

DIGEST = "ab" * 32
NOTICE = Notice(bundle=DIGEST, name="my-run", version="1.0", reason="it lies", at="2026-01-01T00:00:00Z")


class Told(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(self.path)
        if server.silent.is_set():
            server.end.wait(30)
        body = server.pages.get(self.path)
        self.send_response(200 if body is not None else server.without)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Web:
    """An address that anybody could serve; `pages` by path."""

    def __init__(self) -> None:
        self.server: Any = HTTPServer(("127.0.0.1", 0), _Answers)
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.server.pages, self.server.asked, self.server.without = self.pages, self.asked, 404
        self.server.silent, self.server.end = threading.Event(), threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/recalls"


@contextmanager
def serving() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield web
    finally:
        web.server.end.set()
        web.server.shutdown()
        thread.join()
        web.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:
        yield found


@pytest.fixture
def anna(tmp_path: Path) -> Signer:
    return bundles.signer(tmp_path)


def known(anna: Signer, address: str = "") -> Asked:
    return Asked(DIGEST, address, frozenset({anna.public.fingerprint}))


def test_a_notice_by_one_of_its_signers_is_believed(anna: Signer) -> None:
    assert believed(signed(NOTICE, anna), known(anna), "it") == NOTICE


def changed(data: bytes, **changes: Any) -> bytes:
    said = json.loads(data)
    said["notice"] |= changes.pop("notice", {})
    return json.dumps(said | changes).encode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"notice": {"reason": "other"}}, "its signature is wrong"),
        ({"notice": {"bundle": "cd" * 32}}, "about another bundle"),
        ({"signature": ""}, "its signature is wrong"),
        ({"signature": "%"}, "it is none"),
        ({"more": 1}, "it is none"),
    ],
)
def test_an_altered_notice_is_not_believed(anna: Signer, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CorruptError, match=words):
        believed(changed(signed(NOTICE, anna), **changes), known(anna), "it")


def test_a_strangers_notice_is_not_believed(anna: Signer, tmp_path: Path) -> None:
    stranger = bundles.signer(tmp_path, "stranger")
    with pytest.raises(CorruptError, match=f"{stranger.public.fingerprint} is not known"):
        believed(signed(NOTICE, stranger), known(anna), "it")
    lent = changed(signed(NOTICE, stranger), key=anna.public.pem.decode())
    with pytest.raises(CorruptError, match="signature is wrong"):
        believed(lent, known(anna), "it")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000, b"7"])
def test_no_bytes_are_too_odd(anna: Signer, data: bytes) -> None:
    with pytest.raises(CorruptError, match="it is none"):
        believed(data, known(anna), "it")


def test_a_recalled_bundle_is_refused_and_that_is_remembered(web: Web, anna: Signer, tmp_path: Path) -> None:
    """Also when the address says nothing any more, or cannot be reached."""
    asked, told = known(anna, web.address), Told()
    web.pages[f"/recalls/{DIGEST}.json"] = signed(NOTICE, anna)
    with pytest.raises(RecalledError, match="recalled on 2026-01-01T00:00:00Z: it lies"):
        check(asked, tmp_path, 1000.0, told)
    web.pages.clear()
    for address in (web.address, ""):
        with pytest.raises(RecalledError, match="it lies"):
            check(Asked(DIGEST, address, asked.known), tmp_path, 1e6, told)
    assert told == []
    assert len(web.asked) == 1


def test_an_answer_holds_for_an_hour(web: Web, anna: Signer, tmp_path: Path) -> None:
    told = Told()
    for now in (1000.0, 1001.0, 1000.0 + recall.OFTEN - 1, 999.0, 1000.0 + 2 * recall.OFTEN):
        check(known(anna, web.address), tmp_path, now, told)
    assert len(web.asked) == 3  # at first, when the clock was set back, and after the hour
    assert told == []


def test_a_strangers_notice_is_told_and_not_followed(web: Web, anna: Signer, tmp_path: Path) -> None:
    web.pages[f"/recalls/{DIGEST}.json"] = signed(NOTICE, bundles.signer(tmp_path, "stranger"))
    told = Told()
    check(known(anna, web.address), tmp_path, 1000.0, told)
    assert "not believed" in told[0]
    check(known(anna, web.address), tmp_path, 1001.0, told)
    assert len(web.asked) == 2  # such an answer is none


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "file:///etc", "http://[", "http://name.invalid/x"])
def test_an_address_that_does_not_answer_is_said(anna: Signer, tmp_path: Path, address: str) -> None:
    told = Told()
    check(known(anna, address), tmp_path, 1000.0, told)
    [said] = told
    assert "could not be asked" in said
    assert "It may have been" in said


def test_a_silent_address_holds_nothing_up(
    web: Web, anna: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "SECONDS", 0.2)
    web.server.silent.set()
    told = Told()
    check(known(anna, web.address), tmp_path, 1000.0, told)
    assert "could not be asked" in told[0]


def test_another_answer_than_404_is_none(web: Web, anna: Signer, tmp_path: Path) -> None:
    web.server.without = 503
    told = Told()
    check(known(anna, web.address), tmp_path, 1000.0, told)
    assert "503" in told[0]


def test_a_torn_memory_is_said(anna: Signer, tmp_path: Path) -> None:
    recall.remember(tmp_path, DIGEST, b"{")
    with pytest.raises(CorruptError, match=DIGEST):
        check(known(anna), tmp_path, 1000.0, Told())


def test_a_recalled_bundle_is_not_verified(web: Web, anna: Signer, tmp_path: Path) -> None:
    found = bundles.released(tmp_path, anna, recall=web.address)
    trusted = [anna.public.fingerprint]
    verified(tmp_path / "bundle", trusted, home=tmp_path, now=1000.0)
    said = Notice(bundle=found.digest, name="my-run", version="1.0", reason="it lies", at="now")
    web.pages[f"/recalls/{found.digest}.json"] = signed(said, anna)
    verified(tmp_path / "bundle", trusted, home=tmp_path, now=1001.0)  # asked a second ago
    with pytest.raises(RecalledError):
        verified(tmp_path / "bundle", trusted, home=tmp_path, now=9999.0)
