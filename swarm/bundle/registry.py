"""One repository of an OCI registry: https://github.com/opencontainers/distribution-spec, as far as bundles need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from swarm.bundle import http, logins
from swarm.bundle.http import Answer
from swarm.bundle.logins import Challenge, Login
from swarm.bundle.oci import LARGEST, MANIFEST
from swarm.bundle.reference import Reference
from swarm.errors import CorruptError, UnreachableError, UsageError

AT_ONCE: Final = 4  # blobs; while one waits for a disk, and the registry hashes another, the line carries the next
_READ = 1 << 20  # bytes; with a quarter of it a gigabyte costs a fifth more of the processor
_ANSWER = 1 << 20  # bytes of a token's answer
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")

Body = Callable[[], Iterator[bytes]]  # the bytes to send, from the beginning again whenever it is called


class Registry:
    """What may be asked of the repository; several threads may ask at once.

    Every method raises UnreachableError, RefusedError, NotFoundError, OverloadError, and SwarmError for what else a
    registry may answer.
    """

    def __init__(self, reference: Reference, base: str, login: Login, pool: urllib3.PoolManager, scope: str) -> None:
        self._reference = reference
        self._base = base  # scheme, host and port
        self._login = login
        self._pool = pool
        self._scope = scope
        self._authorization: dict[str, str] = {}

    @classmethod
    def of(cls, reference: Reference, plain_http: bool, *, writes: bool) -> Registry:
        """Without TLS only on this machine: raises UsageError for others, RefusedError for unreadable logins."""
        if plain_http and not reference.local:
            raise UsageError(
                f"{reference.host} is not on this machine, and without TLS everybody between could read and alter.",
                "Leave out --plain-http; a registry for others needs a certificate.",
            )
        base = f"{'http' if plain_http else 'https'}://{reference.address}"
        scope = f"repository:{reference.name}:{'pull,push' if writes else 'pull'}"
        return cls(reference, base, logins.login(reference.host), http.pool(base, AT_ONCE), scope)

    @property
    def reference(self) -> Reference:
        return self._reference

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""
        answer = self._ask("HEAD", self._at(f"blobs/sha256:{sha256}"))
        http.require(answer, self._reference.host, "look for a file", 200, 404).drain_conn()
        return answer.status == 200

    @contextmanager
    def read(self, sha256: str, offset: int) -> Iterator[Iterator[bytes]]:
        """The blob's bytes from `offset` on."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._ask("GET", self._at(f"blobs/sha256:{sha256}"), headers)
        try:
            http.require(answer, self._reference.host, f"get the file sha256:{sha256[:16]}…", 200, 206, 416)
            yield iter(()) if answer.status == 416 else self._pieces(answer, offset)  # 416: it has no more than that
        finally:
            answer.close()

    def _pieces(self, answer: Answer, offset: int) -> Iterator[bytes]:
        begin = _begins_at(answer)
        if begin is None or begin > offset:
            raise CorruptError(f"{self._reference.host} sends another part of a file than was asked.", "Try again.")
        skip = offset - begin  # a registry that knows no ranges sends all of it again
        try:
            while data := answer.read(_READ, decode_content=False):
                yield data[skip:]
                skip = max(0, skip - len(data))
        except (HTTPError, OSError) as error:
            raise http.unreachable(error, self._reference.host) from error

    def begin(self) -> str:
        """Open an upload: its address."""
        return self._location(self._required("POST", self._at("blobs/uploads/"), "begin an upload", 202))

    def resume(self, upload: str) -> tuple[str, int] | None:
        """An open upload's address now, and how many bytes it has; None when the registry knows it no more."""
        try:
            answer = self._ask("GET", upload)
        except UnreachableError:
            return None  # an address of long ago; whether the registry is there is seen at once
        answer.drain_conn()
        held = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if answer.status != 204 or not held:
            return None
        last = int(held[1])
        return self._location(answer, upload), last + 1 if last else 0  # "0-0" is how nothing at all is said

    def send(self, upload: str, body: Body, offset: int, length: int) -> str:
        """Add `length` bytes to an upload that has `offset`: its next address."""
        span = {"Content-Range": f"{offset}-{offset + length - 1}"} if offset else {}
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length), **span}
        return self._location(self._required("PATCH", upload, "take a file", 202, headers=headers, body=body), upload)

    def finish(self, upload: str, sha256: str) -> None:
        """Close an upload; the registry compares what it has with the digest. Raises CorruptError when they differ."""
        url = f"{upload}{'&' if '?' in upload else '?'}digest=sha256:{sha256}"
        answer = self._ask("PUT", url, {"Content-Length": "0"})
        if answer.status == 400:
            answer.close()
            raise CorruptError(
                f"{self._reference.host} says that what arrived is not sha256:{sha256[:16]}…: it was altered on the "
                "way, or since the bundle was made.",
                "Check the bundle with swarm verify, and push again.",
            )
        http.require(answer, self._reference.host, "close an upload", 201, 204).drain_conn()

    def manifest(self) -> bytes:
        """The manifest that the reference names, as it is there. Raises CorruptError for one that is too large."""
        url = self._at(f"manifests/{self._reference.wanted}")
        headers = {"Accept": MANIFEST}
        answer = http.require(self._ask("GET", url, headers), self._reference.host, f"find {self._reference}", 200)
        return http.content(answer, LARGEST)

    def put_manifest(self, tag: str, data: bytes) -> None:
        """Let `tag` name the bundle whose files are all there."""
        headers = {"Content-Type": MANIFEST, "Content-Length": str(len(data))}
        url = self._at(f"manifests/{tag}")
        self._required("PUT", url, "take the manifest", 201, headers=headers, body=lambda: iter([data]))

    def _required(
        self,
        method: str,
        url: str,
        what: str,
        status: int,
        *,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        answer = http.require(self._ask(method, url, headers or {}, body), self._reference.host, what, status)
        answer.drain_conn()
        return answer

    def _ask(self, method: str, url: str, headers: dict[str, str] | None = None, body: Body | None = None) -> Answer:
        """Ask; where the registry itself challenges us, answer that and ask once more. Another host may not: it would
        name the place to which our password goes.
        """
        for last in (False, True):
            ours = self._authorization if _origin(url) == self._base else {}  # our login is for nobody else
            given = body() if body else (b"" if method in ("POST", "PUT", "PATCH") else None)
            answer = http.ask(self._pool, method, url, {**(headers or {}), **ours}, given)
            if last or answer.status != 401 or _origin(http.answered_at(answer, url)) != self._base:
                break
            answer.close()
            self._authorize(Challenge.of(answer.headers.get("WWW-Authenticate", "")))
        return answer

    def _authorize(self, challenge: Challenge) -> None:
        if challenge.scheme == "basic":
            self._authorization = self._login.basic()
        elif challenge.scheme == "bearer" and self._is_safe(challenge.realm):
            method, url, headers, body = challenge.token_request(self._login, self._scope)
            answer = http.ask(self._pool, method, url, headers, body or None, follow=False)
            http.require(answer, self._reference.host, "log in", 200)
            found = logins.token(http.content(answer, _ANSWER), self._reference.host)
            self._authorization = {"Authorization": f"Bearer {found}"}

    def _is_safe(self, realm: str) -> bool:
        """A password goes nowhere in plain text, unless the registry itself is asked so."""
        return realm.startswith("https://") or (realm.startswith("http://") and self._base.startswith("http://"))

    def _at(self, path: str) -> str:
        return f"{self._base}/v2/{self._reference.name}/{path}"

    def _location(self, answer: Answer, before: str = "") -> str:
        """The next address of an upload; the one before where the registry names none."""
        return urljoin(before or self._base, answer.headers.get("Location", before))


def _begins_at(answer: Answer) -> int | None:
    """The offset of an answer's first byte; None when it does not say so."""
    if answer.status == 200:
        return 0
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _origin(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
