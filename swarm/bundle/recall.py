"""Recall: those who released a bundle say, signed, that it should be used no more.

A notice names the bundle by the SHA-256 of its bundle.json, and lies at ADDRESS/DIGEST.json, where ADDRESS stands in
the bundle. Clients ask there when they can. What it cannot do: reach a machine that is offline or blocks the address,
other programs, or copies with another manifest; nor delete anything. A model that is out is out.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from pydantic import Field, ValidationError

from swarm import notes
from swarm.bundle.keys import PublicKey, Signer
from swarm.bundle.manifest import Digest
from swarm.errors import CorruptError, RecalledError, UnreachableError, from_os_error
from swarm.identity import framed
from swarm.sections import Section
from swarm.tensorfile import atomic_write
from swarm.texts import shown

SECONDS = 3.0  # that an answer may take
OFTEN = 3600.0  # seconds between two questions about one bundle
_LARGEST = 64 << 10  # bytes of a notice
_WORDS = b"garage-swarm recall 1"


class Notice(Section):
    """What is said."""

    bundle: Digest
    name: str
    version: str
    reason: str = Field(max_length=2000)
    at: str = Field(description="when, RFC 3339")

    def words(self) -> bytes:
        """What is signed."""
        return framed(_WORDS, json.dumps(self.model_dump(mode="json"), sort_keys=True).encode())


class _Signed(Section):
    """The file: a notice, and by whom it is: public key (PEM) and signature (base64)."""

    notice: Notice
    key: str
    signature: str


@dataclass(frozen=True)
class Asked:
    """About which bundle it is asked, where, and whose word counts."""

    digest: str
    address: str
    known: frozenset[str]


def signed(notice: Notice, signer: Signer) -> bytes:
    """The notice as a file."""
    signature = base64.b64encode(signer.sign(notice.words())).decode()
    said = _Signed(notice=notice, key=signer.public.pem.decode(), signature=signature)
    return json.dumps(said.model_dump(mode="json"), indent=1).encode()


def believed(data: bytes, asked: Asked, origin: str) -> Notice:
    """The notice in `data`, when it is about this bundle and by somebody who is known. Raises CorruptError."""
    try:
        said = _Signed.model_validate_json(data)
        signature = base64.b64decode(said.signature, validate=True)
    except (ValidationError, ValueError, RecursionError) as error:
        raise _unbelieved(origin, "it is none") from error
    key = PublicKey(said.key.encode())
    if said.notice.bundle != asked.digest:
        raise _unbelieved(origin, "it is about another bundle")
    if key.fingerprint not in asked.known:
        raise _unbelieved(origin, f"its signer {key.fingerprint} is not known")
    if not key.signed(said.notice.words(), signature):
        raise _unbelieved(origin, "its signature is wrong")
    return said.notice


def check(asked: Asked, home: Path, now: float, say: Callable[[str], None]) -> None:
    """Look at what is remembered, then ask. Raises RecalledError; CorruptError when what is remembered is torn."""
    kept = _kept(home, asked.digest)
    if kept is not None:
        raise _recalled(believed(kept, asked, str(_file(home, asked.digest))))
    if not asked.address or _asked_lately(home, asked.digest, now):
        return
    try:
        answer = fetched(f"{asked.address.rstrip('/')}/{asked.digest}.json")
        notice = believed(answer, asked, asked.address) if answer is not None else None
    except UnreachableError as error:
        say(f"Whether the bundle was recalled could not be asked: {error.what} It may have been.")
        return
    except CorruptError as error:
        say(error.what)
        return
    if notice is not None and answer is not None:
        remember(home, asked.digest, answer)
        raise _recalled(notice)
    _note_asked(home, asked.digest, now)


def fetched(url: str) -> bytes | None:
    """What stands at the address; None when nothing does (404). Raises UnreachableError, after some seconds."""
    if not url.startswith(("https://", "http://")):
        raise UnreachableError(f"{url} is no web address.")
    answers: Queue[bytes | UnreachableError | None] = Queue()
    Thread(target=lambda: answers.put(_answer(url)), daemon=True).start()  # looking up a name knows no time-out
    try:
        answer = answers.get(timeout=2 * SECONDS)
    except Empty:
        raise UnreachableError(f"{url} does not answer within {2 * SECONDS:.0f} seconds.") from None
    if isinstance(answer, UnreachableError):
        raise answer
    return answer


def _answer(url: str) -> bytes | UnreachableError | None:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            data: bytes = answer.read(_LARGEST)
            return data
    except urllib.error.HTTPError as error:
        error.close()
        return None if error.code in (404, 410) else UnreachableError(f"{url} answered with {error.code}.")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return UnreachableError(f"{url} does not answer ({getattr(error, 'reason', error)}).")


def remember(home: Path, digest: str, data: bytes) -> None:
    """Keep a notice: it holds from now on, whatever the address says later. Raises DiskError."""
    path = _file(home, digest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise from_os_error(error, "remembering a notice of recall") from error


def _kept(home: Path, digest: str) -> bytes | None:
    try:
        return _file(home, digest).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise from_os_error(error, "reading a notice of recall") from error


def _asked_lately(home: Path, digest: str, now: float) -> bool:
    with suppress(OSError, ValueError):
        return 0 <= now - float(notes.kept(_file(home, digest).with_suffix(".asked"))) < OFTEN
    return False


def _note_asked(home: Path, digest: str, now: float) -> None:
    """Only an answer is remembered, not a silence. That it cannot be kept does no harm: then it is asked again."""
    path = _file(home, digest).with_suffix(".asked")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        notes.keep(path, repr(now))


def _file(home: Path, digest: str) -> Path:
    return home / "recalls" / f"{digest}.json"


def _recalled(notice: Notice) -> RecalledError:
    return RecalledError(
        shown(
            f"{notice.name} {notice.version} was recalled on {notice.at}: {notice.reason}. Nothing of it was loaded."
        ),
        "Delete it, and look for a newer version.",
    )


def _unbelieved(origin: str, why: str) -> CorruptError:
    return CorruptError(f"The notice of recall of {origin} is not believed: {why}.", "Tell the run's maintainers.")
