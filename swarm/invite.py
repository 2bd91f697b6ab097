"""The invite: one line that holds everything a volunteer needs.

swarm://HOST:PORT/RUN?fp=FINGERPRINT&token=TOKEN
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

from swarm.errors import InviteError

TOKEN_BYTES = 16  # of a coordinator's tokens, which are written in base64url without padding
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
_RUN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_HOST = re.compile(r"[^\s/?#@\[\]]+")
_REMEDY = "Copy the whole invite again, from swarm:// to its end; in a shell, put it in quotes."


@dataclass(frozen=True)
class Invite:
    """Where a run's coordinator is, how to know it, and the right to take part.

    `fingerprint` is the coordinator's (see `swarm.identity.ServerCertificate`), `token` a secret of the run.
    """

    host: str
    port: int
    run: str
    fingerprint: str
    token: str

    @classmethod
    def parse(cls, text: str) -> Invite:
        """The invite that `text` holds. Raises InviteError that says which part is wrong."""
        url = _split(text.strip())
        query = parse_qs(url.query)
        return cls(
            host=_host(url),
            port=_port(url),
            run=_matching("run", url.path.removeprefix("/"), _RUN),
            fingerprint=_matching("fingerprint (fp=…)", query.get("fp", [""])[0], _FINGERPRINT),
            token=_matching("token (token=…)", query.get("token", [""])[0], re.compile(r"[!-~]+")),
        )

    @classmethod
    def of(cls, text: str) -> Invite:
        """The invite `text`, or the one in the file that `text` names. Raises InviteError."""
        if text.startswith("swarm:") or not _is_file(text):
            return cls.parse(text)
        try:
            content = Path(text).read_text()
            invite = cls.parse(content)
        except (OSError, UnicodeDecodeError, InviteError) as error:
            why = error.what if isinstance(error, InviteError) else f"{error}."
            raise InviteError(f"The invite in {text} cannot be read: {why}", _REMEDY) from error
        if not content.endswith("\n") and not is_token(invite.token):
            raise InviteError(f"The invite in {text} was cut off: its token is too short.", _REMEDY)
        return invite

    def __str__(self) -> str:
        query = urlencode({"fp": self.fingerprint, "token": self.token}, quote_via=quote, safe="")
        return f"swarm://{self.address}/{self.run}?{query}"

    @property
    def address(self) -> str:
        return address_of(self.host, self.port)


def address_of(host: str, port: int) -> str:
    """HOST:PORT, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_given(text: str) -> bool:
    """Whether it is an invite, sound or not, or names a file that may hold one."""
    return text.startswith("swarm:") or _is_file(text)


def is_token(text: str) -> bool:
    """Whether a coordinator may have made it, as a whole."""
    return bool(_TOKEN.fullmatch(text))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise InviteError(f"The invite cannot be read: {error}.", _REMEDY) from error
    if url.scheme != "swarm":
        raise InviteError(f"An invite starts with swarm://, this one with {text[:20]!r}.", _REMEDY)
    return url


def _host(url: SplitResult) -> str:
    return _matching("host", url.hostname or "", _HOST)


def _port(url: SplitResult) -> int:
    try:
        port = url.port
    except ValueError:
        port = None
    if not port:
        raise InviteError("The invite's port is missing or is no number from 1 to 65535.", _REMEDY)
    return port


def _matching(part: str, value: str, pattern: re.Pattern[str]) -> str:
    if not value:
        raise InviteError(f"The invite has no {part}; it was probably cut off.", _REMEDY)
    if not pattern.fullmatch(value):
        raise InviteError(f"The invite's {part} is damaged: {value!r}.", _REMEDY)
    return value
