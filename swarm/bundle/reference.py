"""Where a bundle lies in a registry, as people write it: REGISTRY/NAME:TAG@sha256:…"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from swarm.errors import UsageError

_REFERENCE = re.compile(
    r"(?P<host>(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?)"
    r"/(?P<name>[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@sha256:(?P<digest>[0-9a-f]{64}))?"
)
_LONGEST = 255  # letters of a repository's name, registry included
_HUB = "docker.io"  # its registry answers at another name
_HUBS_REGISTRY = "registry-1.docker.io"


@dataclass(frozen=True)
class Reference:
    """A repository of a registry, and one of its manifests by tag or digest."""

    host: str  # with its port
    name: str
    tag: str  # empty: none was named
    sha256: str  # of the manifest; empty: whatever the tag names

    @classmethod
    def of(cls, text: str) -> Reference:
        """Raises UsageError with the form that is expected."""
        found = _REFERENCE.fullmatch(text)
        if not found or len(f"{found['host']}/{found['name']}") > _LONGEST or not _is_host(found["host"]):
            raise UsageError(
                f"{text!r} names no place in a registry.",
                "Write REGISTRY/NAME:TAG, such as ghcr.io/our-group/our-model:1.0; names have small letters.",
            )
        return cls(found["host"], found["name"], found["tag"] or "", found["digest"] or "")

    @property
    def address(self) -> str:
        """Host and port that answer for this registry."""
        return _HUBS_REGISTRY if self.host == _HUB else self.host

    @property
    def wanted(self) -> str:
        """What the manifest is asked for by: the digest where one is known."""
        return f"sha256:{self.sha256}" if self.sha256 else self.tag

    @property
    def local(self) -> bool:
        """Whether the registry is on this machine, so that nobody between could read along."""
        host = re.sub(r":[0-9]+$", "", self.host).strip("[]")
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.name}{tag}" + (f"@sha256:{self.sha256}" if self.sha256 else "")


def _is_host(host: str) -> bool:
    """Without a registry's name `NAME/MODEL` would be taken for one: nothing is guessed."""
    return host == "localhost" or "." in host or ":" in host
