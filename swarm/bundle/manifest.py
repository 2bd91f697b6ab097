"""The manifest of a bundle, `bundle.json`: every file by its SHA-256, where the model comes from, and its caps.

The same release gives the same bytes: nothing in it depends on when, where or by whom it was packed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from swarm.bundle.caps import Caps
from swarm.errors import CorruptError, from_os_error
from swarm.sections import Section
from swarm.trials.names import FindingState, Severity

FILE = "bundle.json"
SIGNATURES = "signatures"  # the folder beside it; what is in there is signed over everything else
LARGEST = 4 << 20  # bytes of a manifest: it may be a stranger's
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
PATH = rf"^{_NAME}(/{_NAME}){{0,3}}$"  # of a file: it cannot leave the bundle's folder, and names no hidden file
SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
VERSION = r"^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Size = Annotated[int, Field(ge=0)]
Kind = Literal["weights", "config", "tokenizer", "card", "gguf", "plugin", "record"]


class Part(Section):
    """A file of the bundle."""

    path: str = Field(pattern=PATH)
    kind: Kind
    sha256: Digest
    size: Size


class Base(Section):
    """The model that an adapter belongs to, or that training began with."""

    source: str
    revision: str = ""
    sha256: Digest = Field(description="of the base's weights as the run used them")
    license: str = ""


class Lineage(Section):
    """Where the weights come from."""

    run: str = Field(pattern=SLUG, description="its name")
    fingerprint: Fingerprint = Field(description="of the coordinator's key, as in invites")
    spec: Digest = Field(description="of the run spec")
    data: Digest = Field(description="of the data's manifest")
    round: Size = Field(description="that the checkpoint holds")
    state: Digest = Field(description="of the checkpoint's parameters and optimizer state")
    ledger: Digest = Field(description="the root of the ledger: one hash over all counted ranges")
    samples: Size = Field(description="counted")
    base: Base | None = None


class Signing(Section):
    """Who signs, by the fingerprints of their keys, and how many of them must."""

    signers: tuple[Fingerprint, ...] = ()
    needed: Annotated[int, Field(ge=1)] = 1

    def whom(self) -> str:
        """For people."""
        return f"{self.needed} of {', '.join(self.signers) or 'nobody named'}"


class Contributor(Section):
    """A volunteer who agreed to be named."""

    name: str
    samples: Size
    rounds: Size


class Evaluation(Section):
    """One figure: of which suite, by how many answers that did not know of each other."""

    suite: str
    metric: str
    value: float
    samples: Size
    answers: Size = 1


class Finding(Section):
    """What red-teaming found, in one line; the record has the rest."""

    id: str
    title: str
    severity: Severity
    state: FindingState


class Bundle(Section):
    """The whole manifest."""

    format: Literal[1] = 1
    name: str = Field(pattern=SLUG)
    version: str = Field(pattern=VERSION, description="also its tag in a registry")
    title: str = ""
    license: str = Field(description="of the model, an SPDX expression")
    created: str = Field(description="when the checkpoint was made, RFC 3339")
    parts: tuple[Part, ...] = Field(min_length=1, max_length=10_000)
    lineage: Lineage
    contributors: tuple[Contributor, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    findings: tuple[Finding, ...] = ()
    tools: dict[str, str] = Field(default_factory=dict, description="versions of what made it")
    signing: Signing = Field(default_factory=Signing)
    recall: str = Field(default="", description="the address below which a notice of recall would stand")
    caps: Caps = Field(default_factory=Caps)

    @field_validator("parts")
    @classmethod
    def _in_order(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        paths = [part.path for part in parts]
        if paths != sorted(set(paths)):
            raise ValueError("files must be sorted by their paths, each once")
        if FILE in paths or any(path.split("/")[0] == SIGNATURES for path in paths):
            raise ValueError("the manifest and the signatures cannot be in the list")
        return parts

    def to_bytes(self) -> bytes:
        """What `bundle.json` holds: the same values give the same bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def parse(data: bytes, origin: str = FILE) -> Bundle:
    """The manifest in `data`. Raises CorruptError, which says what is wrong."""
    if len(data) > LARGEST:
        raise _wrong(origin, f"it has {len(data)} bytes, and no manifest has more than {LARGEST}")
    try:
        return Bundle.model_validate_json(data)
    except (ValidationError, RecursionError) as error:
        raise _wrong(origin, fault(error)) from None


def read(folder: Path) -> Bundle:
    """The manifest of the bundle in `folder`. Raises CorruptError, DiskError."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            return parse(file.read(LARGEST + 1), str(path))
    except FileNotFoundError as error:
        raise _wrong(str(path), "there is none") from error
    except OSError as error:
        raise from_os_error(error, "reading a bundle") from error


def fault(error: Exception) -> str:
    """The first thing that is wrong with a document, as pydantic found it."""
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def _wrong(origin: str, why: str) -> CorruptError:
    return CorruptError(f"{origin} is not the manifest of a bundle: {why}.", "Get the bundle again from its publisher.")
