"""HTTP as registries are asked: one pool of connections, bounded answers, and failures in the project's words."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import (
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
    TimeoutError,  # noqa: A004 - urllib3's, not Python's
)

from swarm.errors import (
    CorruptError,
    NotFoundError,
    OverloadError,
    RefusedError,
    SwarmError,
    UnreachableError,
)

_TIMES = urllib3.Timeout(connect=10.0, read=60.0)  # seconds; a registry may look through what it got before it answers
_PIECE = 1 << 20  # bytes that are given to the socket at once
_SAID = 300  # letters of a registry's own words that are shown
_MESSAGE = 64 << 10  # bytes of an error's body that are read

Answer = urllib3.BaseHTTPResponse


class _Patience(urllib3.Retry):
    """Follows redirects, but for one that leads out of TLS."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Answer | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        onward = response.get_redirect_location() if response is not None else None
        if onward and url and url.startswith("https://") and not urljoin(url, onward).startswith("https://"):
            raise UnreachableError(
                f"{urlsplit(url).netloc} sends us on to an address without TLS.", "Ask who runs the registry."
            )
        return super().increment(method, url, response, error, _pool, _stacktrace)


_PATIENCE = _Patience(connect=0, read=0, redirect=5, status=0, other=0, raise_on_redirect=True)


def pool(address: str, connections: int) -> urllib3.PoolManager:
    """Connections to `address` (with scheme), through the proxy that the environment names for it, if any."""
    parts = urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, maxsize=connections, blocksize=_PIECE)
    return urllib3.PoolManager(maxsize=connections, blocksize=_PIECE)


def ask(
    pool: urllib3.PoolManager,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Any = None,
    *,
    follow: bool = True,
) -> Answer:
    """The answer, of which nothing but the head was read. `follow` redirects, without our login to other hosts.

    Raises UnreachableError, which says why.
    """
    given: dict[str, Any] = {"body": body, "headers": dict(headers), "timeout": _TIMES, "retries": _PATIENCE}
    try:
        return pool.request(method, url, preload_content=False, redirect=follow, **given)
    except (HTTPError, OSError) as error:
        raise unreachable(error, urlsplit(url).netloc) from error


def answered_at(answer: Answer, url: str) -> str:
    """The address that answered what was asked of `url`: the last redirect's."""
    for step in answer.retries.history if answer.retries else ():
        url = urljoin(url, step.redirect_location or "")
    return url


def content(answer: Answer, largest: int) -> bytes:
    """The whole body. Raises CorruptError when it has more than `largest` bytes, UnreachableError."""
    try:
        data = bytearray()
        while piece := answer.read(largest + 1 - len(data), decode_content=False):
            data += piece
    except (HTTPError, OSError) as error:
        raise unreachable(error, "the registry") from error
    answer.release_conn()
    if len(data) > largest:
        answer.close()
        raise CorruptError(f"A registry's answer has more than {largest} bytes; it is not taken.", "Check the name.")
    return bytes(data)


def require(answer: Answer, registry: str, what: str, *accepted: int) -> Answer:
    """`answer` when its status is one of `accepted`; else raises the error that the registry's word amounts to."""
    if answer.status in accepted:
        return answer
    said = _words(answer)
    if answer.status in (401, 403):
        raise RefusedError(
            f"{registry} does not let us {what}: {said}.",
            f"Log in with docker login {registry} (logins that Docker keeps in a credential helper are not read).",
        )
    if answer.status == 404:
        raise NotFoundError(f"{registry} could not {what}: {said}.", "Check name and tag.")
    if answer.status in (429, 503):
        raise OverloadError(f"{registry} is asked too much: {said}.", "Try again later; it goes on where it stopped.")
    raise SwarmError(f"{registry} could not {what}: {said}.", "Try again; if it stays so, ask who runs the registry.")


def _words(answer: Answer) -> str:
    """Status and the registry's own message, cut and without what a terminal would obey."""
    try:
        text = " ".join(_message(answer.read(_MESSAGE, decode_content=False)).split())
        answer.close()
    except (HTTPError, OSError):
        text = ""
    return ", ".join(filter(None, [f"HTTP {answer.status}", "".join(filter(str.isprintable, text))[:_SAID]]))


def _message(body: bytes) -> str:
    """The messages of an error in the form that registries agreed on; the body itself where it has another form."""
    try:
        return ", ".join(str(one["message"]) for one in json.loads(body)["errors"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return body.decode(errors="replace")


def unreachable(error: Exception, host: str) -> UnreachableError:
    """Why there was no answer, by what was seen."""
    if isinstance(error, MaxRetryError) and error.reason:
        error = error.reason
    if isinstance(error, NameResolutionError):
        return UnreachableError(f"There is no host named {host}, or no network.", "Check the name and the network.")
    if isinstance(error, SSLError):
        remedy = "A registry without TLS on this machine is reached with --plain-http."
        return UnreachableError(f"No safe line to {host}: {error}.", remedy)
    if isinstance(error, NewConnectionError):
        refused = isinstance(error.__cause__, ConnectionRefusedError)
        why = "refuses connections" if refused else f"cannot be reached: {_cause(error)}"
        return UnreachableError(f"{host} {why}.", "Check host and port, and that it runs.")
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{host} did not answer in time.", "Try again; it goes on where it stopped.")
    return UnreachableError(
        f"The line to {host} broke off: {_cause(error)}.", "Run it again; it goes on where it stopped."
    )


def _cause(error: BaseException) -> str:
    """What the system said, which libraries wrap in words of their own."""
    while not (isinstance(error, OSError) and error.strerror) and error.__cause__:
        error = error.__cause__
    return (isinstance(error, OSError) and error.strerror) or str(error)
