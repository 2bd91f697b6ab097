"""A bundle as an OCI artifact in the CNCF ModelPack format, and back; pure.

Every file is one raw layer, so a layer's digest is the file's SHA-256 and tools that know ModelPack, ORAS or plain OCI
find the same files. Source: https://github.com/modelpack/model-spec (docs/spec.md, docs/config.md, docs/annotations.md,
specs-go/v1) and https://github.com/opencontainers/image-spec.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swarm.bundle.manifest import FILE, PATH, SIGNATURES, Bundle, Kind, Size, fault
from swarm.errors import CorruptError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LARGEST = 4 << 20  # bytes of a manifest; registries take no larger ones, either
_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG = "application/vnd.cncf.model.config.v1+json"
_WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
_WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
_DOC = "application/vnd.cncf.model.doc.v1.raw"
_CODE = "application/vnd.cncf.model.code.v1.raw"
_TYPES: dict[Kind, str] = {
    "weights": _WEIGHT,
    "gguf": _WEIGHT,
    "config": _WEIGHT_CONFIG,
    "tokenizer": _WEIGHT_CONFIG,
    "card": _DOC,
    "record": _DOC,
    "plugin": _CODE,
}
_FILEPATH = "org.cncf.model.filepath"
_TITLE = "org.opencontainers.image.title"  # on a layer: the file's name for ORAS and others that know no ModelPack
_MOST = 10_100  # layers: as many files as a bundle may have, and its signatures


@dataclass(frozen=True)
class Layer:
    """A file of the bundle as a registry holds it."""

    path: str
    media_type: str
    sha256: str
    size: int  # bytes

    def facts(self) -> dict[str, Any]:
        """Its descriptor."""
        annotations = {_FILEPATH: self.path, _TITLE: self.path}
        return {**_descriptor(self.media_type, self.sha256, self.size), "annotations": annotations}


def layers(bundle: Bundle, papers: Sequence[tuple[str, str, int]]) -> tuple[Layer, ...]:
    """All files in the order of their paths. `papers` are the manifest and the signatures: path, SHA-256, size."""
    parts = [Layer(part.path, _TYPES[part.kind], part.sha256, part.size) for part in bundle.parts]
    return tuple(
        sorted([*parts, *(Layer(path, _DOC, sha256, size) for path, sha256, size in papers)], key=lambda one: one.path)
    )


def config(bundle: Bundle, files: Iterable[Layer]) -> bytes:
    """The artifact's configuration: what ModelPack's tools show of a model."""
    descriptor = {
        "createdAt": bundle.created,
        "name": bundle.name,
        "version": bundle.version,
        "licenses": [bundle.license],
        **({"title": bundle.title} if bundle.title else {}),
    }
    contents = {"type": "layers", "diffIds": [f"sha256:{file.sha256}" for file in files]}
    technical = {"architecture": "transformer", "format": "safetensors"}
    return _json({"descriptor": descriptor, "config": technical, "modelfs": contents})


def manifest(bundle: Bundle, config_sha256: str, config_size: int, files: Iterable[Layer]) -> bytes:
    """The OCI manifest: the same bundle gives the same bytes, and so the same digest."""
    annotations = {
        "org.opencontainers.image.title": bundle.title or bundle.name,
        "org.opencontainers.image.version": bundle.version,
        "org.opencontainers.image.created": bundle.created,
        "org.opencontainers.image.licenses": bundle.license,
    }
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": _ARTIFACT,
            "config": _descriptor(_CONFIG, config_sha256, config_size),
            "layers": [file.facts() for file in files],
            "annotations": annotations,
        }
    )


def parse(data: bytes, origin: str) -> tuple[Layer, ...]:
    """The files that a manifest names, sorted. Raises CorruptError for one that is not of a bundle, or names files that
    could not be one's.
    """
    try:
        found = _Manifest.model_validate_json(data)
    except (ValidationError, RecursionError) as error:
        raise _refused(origin, fault(error)) from None
    files = tuple(sorted((_layer(one, origin) for one in found.layers), key=lambda file: file.path))
    _require_places([file.path for file in files], origin)
    return files


def require_all(files: Sequence[Layer], bundle: Bundle, origin: str) -> None:
    """Raises CorruptError, which names the file, unless the layers are exactly the bundle's files."""
    there = {file.path: (file.sha256, file.size) for file in files if not is_paper(file.path)}
    wanted = {part.path: (part.sha256, part.size) for part in bundle.parts}
    if missing := sorted(wanted.keys() - there.keys()):
        raise _refused(origin, f"the layer of {missing[0]} is missing")
    if surplus := sorted(there.keys() - wanted.keys()):
        raise _refused(origin, f"{surplus[0]} is not in its {FILE}")
    if other := sorted(path for path, facts in wanted.items() if there[path] != facts):
        raise _refused(origin, f"its {FILE} is of other files: {other[0]} has another digest or size there")


def is_paper(path: str) -> bool:
    """Whether a file is the manifest or a signature, which are not in the list of the bundle's files."""
    return path == FILE or path.startswith(f"{SIGNATURES}/")


class _Foreign(BaseModel):
    """What others may extend, read strictly where we know it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Descriptor(_Foreign):
    media_type: str = Field(alias="mediaType", max_length=200)
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: Size
    annotations: dict[str, str] = Field(default_factory=dict)


class _Manifest(_Foreign):
    version: Annotated[int, Field(alias="schemaVersion", ge=2, le=2)]
    artifact: str = Field(alias="artifactType", pattern=f"^{re.escape(_ARTIFACT)}$")
    layers: tuple[_Descriptor, ...] = Field(min_length=1, max_length=_MOST)


def _layer(found: _Descriptor, origin: str) -> Layer:
    path = found.annotations.get(_FILEPATH, "")
    if found.media_type not in {*_TYPES.values()}:
        raise _refused(origin, f"a layer has the type {found.media_type!r}, which no file of a bundle has")
    if not re.fullmatch(PATH, path):
        raise _refused(origin, f"a layer is called {path!r}, and no file of a bundle may be called so")
    return Layer(path, found.media_type, found.digest.removeprefix("sha256:"), found.size)


def _require_places(paths: Sequence[str], origin: str) -> None:
    """Each file has a place of its own, also where small and capital letters are the same."""
    if FILE not in paths:
        raise _refused(origin, f"it has no {FILE}, so it is not a bundle")
    folded = [path.casefold() for path in paths]
    folders = {path[:at] for path in folded for at, letter in enumerate(path) if letter == "/"}
    if len({*folded}) != len(folded) or folders & {*folded}:
        raise _refused(origin, "two layers want the same place")


def _descriptor(media_type: str, sha256: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": size}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _refused(origin: str, why: str) -> CorruptError:
    return CorruptError(f"What {origin} names is refused: {why}.", "Check the name, and ask its publisher.")
