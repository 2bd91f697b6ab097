"""Who we are for a registry: Docker's logins, and the tokens that a registry's challenge leads to.

Sources: Docker's config.json (`auths`), https://distribution.github.io/distribution/spec/auth/token/ and, for identity
tokens, https://distribution.github.io/distribution/spec/auth/oauth/.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from swarm.errors import RefusedError

_HUB = "docker.io"
_HUBS_KEY = "https://index.docker.io/v1/"  # under which Docker keeps the login of its own hub
_HEADER = 8192  # letters of a challenge that are read
_PARAMETER = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Login:
    """A user's word for a registry; nobody's where both secrets are empty."""

    user: str = ""
    password: str = ""
    identity_token: str = ""  # what some registries give at a login in the place of a password

    def basic(self) -> dict[str, str]:
        """The header of basic authentication; none without a password."""
        if not self.password:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"}


@dataclass(frozen=True)
class Challenge:
    """What a registry asks for before it answers."""

    scheme: str  # "basic", "bearer", or what we do not know
    realm: str
    service: str

    @classmethod
    def of(cls, header: str) -> Challenge:
        """From WWW-Authenticate."""
        scheme, _, rest = header[:_HEADER].strip().partition(" ")
        values = {name.lower(): value for name, value in _PARAMETER.findall(rest)}
        return cls(scheme.lower(), values.get("realm", ""), values.get("service", ""))

    def token_request(self, login: Login, scope: str) -> tuple[str, str, dict[str, str], str]:
        """Method, address, headers and body of the request that brings a token."""
        if login.identity_token:
            asked = {"grant_type": "refresh_token", "service": self.service, "client_id": "garage-swarm"}
            body = urlencode({**asked, "scope": scope, "refresh_token": login.identity_token})
            return "POST", self.realm, {"Content-Type": "application/x-www-form-urlencoded"}, body
        query = urlencode({"service": self.service, "scope": scope})
        return "GET", f"{self.realm}{'&' if '?' in self.realm else '?'}{query}", login.basic(), ""


def token(answer: bytes, registry: str) -> str:
    """The token in what the realm answered. Raises RefusedError where there is none."""
    try:
        found = json.loads(answer)
        value = found.get("token") or found.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        value = None
    if not isinstance(value, str) or not value.isprintable():
        raise RefusedError(f"Whom {registry} trusts with logins gave no token.", "Try again, or ask who runs it.")
    return value


def login(registry: str) -> Login:
    """What `docker login REGISTRY` left, or nobody's. Raises RefusedError for a file that cannot be read."""
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        auths = json.loads(path.read_bytes()).get("auths", {})
        return _login(auths.get(_HUBS_KEY if registry == _HUB else registry) or auths.get(f"https://{registry}") or {})
    except FileNotFoundError:
        return Login()
    except (OSError, ValueError, AttributeError, binascii.Error) as error:
        raise RefusedError(
            f"The logins in {path} cannot be read: {error}.", "Log in anew with docker login."
        ) from error


def _login(entry: dict[str, Any]) -> Login:
    user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    return Login(user, password, entry.get("identitytoken", ""))
