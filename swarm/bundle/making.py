"""Making a bundle from an exported model: the same inputs give the same bytes, whenever and wherever that is done.

Nothing asks a clock or looks at a file's times or rights; only signatures differ: ECDSA draws a number for each.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from swarm import runspec
from swarm.bundle import card, lineage
from swarm.bundle.caps import Caps
from swarm.bundle.folder import files, kind_of, refused
from swarm.bundle.lineage import Origin
from swarm.bundle.manifest import FILE, VERSION, Bundle, Evaluation, Finding, Part, Signing
from swarm.errors import CorruptError, NotFoundError, UsageError, from_os_error
from swarm.runspec import RunSpec
from swarm.tensorfile import atomic_write, sha256_file

CARD, SPEC = "README.md", "run.toml"
Contents = Mapping[str, Path | bytes]  # of a bundle, by path: a file, or bytes


@dataclass(frozen=True)
class Exported:
    """A folder that `swarm export` wrote."""

    folder: Path
    spec: RunSpec
    origin: Origin
    paths: Sequence[str]


@dataclass(frozen=True)
class Policy:
    """What the releasing people add: `plugins` are the programs that the caps name, by their paths in the bundle."""

    version: str
    caps: Caps
    plugins: Mapping[str, Path]
    evaluations: Sequence[Evaluation]
    findings: Sequence[Finding]


def require_version(version: str) -> None:
    """Raises UsageError for one that no bundle can have."""
    if not re.fullmatch(VERSION, version):
        raise UsageError(
            f"{version!r} is no version of a release.", "Right would be letters, digits, dots and -, such as 1.0."
        )


def exported(folder: Path) -> Exported:
    """Read it. Raises NotFoundError when it is none; CorruptError for links, special files, files that no bundle has,
    and a run spec that was changed; SpecError, DiskError.
    """
    for name in (SPEC, lineage.FILE, CARD):
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder} is no exported model: it has no {name}.", "`swarm export` writes one.")
    there = [path for path in files(folder) if path != lineage.FILE]
    if odd := [path for path in there if kind_of(path) is None or path == FILE]:
        raise refused(f"no bundle has a file such as {odd[0]}")
    if not any(kind_of(path) == "weights" for path in there):
        raise NotFoundError(f"{folder} has no weights (.safetensors).", "Export the model again.")
    try:
        origin = Origin.model_validate_json((folder / lineage.FILE).read_bytes())
    except ValidationError as error:
        raise CorruptError(f"{folder / lineage.FILE} is torn or was altered.", "Export the model again.") from error
    if sha256_file(folder / SPEC) != origin.lineage.spec:
        raise CorruptError(
            f"{folder / SPEC} is not the run spec that the model was exported with.",
            "Launch the run with the spec that you want, and export again.",
        )
    return Exported(folder, runspec.load(folder / SPEC), origin, there)


def drafted(model: Exported, policy: Policy) -> tuple[Bundle, Contents]:
    """The manifest and what it lists. Raises UsageError when a plugin's program is not there, DiskError."""
    origin, rules = model.origin, model.spec.release
    signing = Signing(signers=tuple(sorted(rules.signers)), needed=rules.signatures)
    contents = _contents(model, policy, signing)
    try:
        parts = tuple(_part(path, contents[path]) for path in sorted(contents))
    except OSError as error:
        raise from_os_error(error, "reading the exported model") from error
    bundle = Bundle(
        name=model.spec.run.name,
        version=policy.version,
        title=model.spec.run.title,
        license=model.spec.run.license,
        created=origin.created,
        parts=parts,
        lineage=origin.lineage,
        contributors=origin.contributors,
        evaluations=tuple(policy.evaluations),
        findings=tuple(policy.findings),
        tools=origin.tools,
        signing=signing,
        recall=rules.recall,
        caps=policy.caps,
    )
    return bundle, contents


def write(bundle: Bundle, contents: Contents, folder: Path) -> None:
    """Write the bundle, unsigned, to `folder`, which is made anew. A file that changes meanwhile is found when the
    bundle is examined. Raises DiskError.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for part in bundle.parts:
            target = folder / part.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(contents[part.path], target)
        with atomic_write(folder / FILE) as file:
            file.write(bundle.to_bytes())
        (folder / FILE).chmod(0o644)
    except OSError as error:
        raise from_os_error(error, "writing a bundle") from error


def _contents(model: Exported, policy: Policy, signing: Signing) -> dict[str, Path | bytes]:
    contents: dict[str, Path | bytes] = {path: model.folder / path for path in model.paths}
    for path, program in policy.plugins.items():
        if program.is_symlink() or not program.is_file():
            raise UsageError(f"The caps name {path}, and {program} is no plain file.", "Put it beside the caps file.")
        contents[path] = program
    said = card.added(model.origin.lineage, signing, policy.evaluations, policy.findings, policy.caps)
    try:
        contents[CARD] = (model.folder / CARD).read_bytes() + said.encode()
    except OSError as error:
        raise from_os_error(error, "reading the model card") from error
    return contents


def _part(path: str, content: Path | bytes) -> Part:
    kind = kind_of(path)
    assert kind is not None  # exported() and the caps let no other path in
    if isinstance(content, bytes):
        return Part(path=path, kind=kind, sha256=sha256(content).hexdigest(), size=len(content))
    return Part(path=path, kind=kind, sha256=sha256_file(content), size=content.stat().st_size)


def _copy(content: Path | bytes, target: Path) -> None:
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(content, target, follow_symlinks=False)
    target.chmod(0o644)
