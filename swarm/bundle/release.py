"""Releasing: the gate, then the bundle. A draft, which only lacks signatures, waits beside where the bundle will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.bundle import gate, making, record, signatures
from swarm.bundle.keys import Signer
from swarm.bundle.manifest import FILE, Bundle
from swarm.bundle.verify import Examined, examined
from swarm.errors import CorruptError, NotFoundError, UsageError, from_os_error
from swarm.tensorfile import sync


@dataclass(frozen=True)
class Wanted:
    """What shall be released, where, and by which record; `policy` holds what the run's members say, too."""

    model: making.Exported
    policy: making.Policy
    record: record.Record
    output: Path

    @property
    def draft(self) -> Path:
        return self.output.with_name(f"{self.output.name}.draft")


def wanted(model: making.Exported, said: record.Record, choice: making.Policy, output: Path) -> Wanted:
    """The choice, with what the run itself and the record say of the model."""
    evaluations = [*model.origin.evaluations, *said.evaluations]
    policy = making.Policy(choice.version, choice.caps, choice.plugins, evaluations, said.findings)
    return Wanted(model, policy, said, output)


def lacking(wanted: Wanted, signers: Sequence[Signer]) -> list[gate.Missing]:
    """What `release` would refuse for, with these keys at hand. Writes nothing."""
    bundle, _ = making.drafted(wanted.model, wanted.policy)
    return _lacking(wanted, _signed(_earlier(wanted.draft, bundle)) | _named(signers))


def release(wanted: Wanted, signers: Sequence[Signer]) -> Examined:
    """Make the bundle. When nothing but signatures is missing a draft is left for others to sign, and the command is
    run again later. Raises UnreadyError with the complete list, UsageError, DiskError, CorruptError.
    """
    if wanted.output.exists():
        raise UsageError(f"{wanted.output} is there already.", "Name a new folder with --output.")
    bundle, contents = making.drafted(wanted.model, wanted.policy)
    earlier = _earlier(wanted.draft, bundle)
    before = _lacking(wanted, _signed(earlier) | _named(signers))
    if any(not item.signature for item in before):
        raise gate.refusal(before)
    if earlier is None:
        making.write(bundle, contents, wanted.draft)
    signatures.sign(wanted.draft, *(item for item in signers if item.public.fingerprint not in _signed(earlier)))
    return _named_so(wanted, examined(wanted.draft))


_SIGN = "let others sign it (`swarm signer sign`), put their two files into its signatures/, run the command again."


def _named_so(wanted: Wanted, found: Examined) -> Examined:
    """The draft becomes the bundle, when enough have signed it."""
    if left := _lacking(wanted, found.signers):
        raise gate.refusal(left, f"{wanted.draft} is a draft: {_SIGN}")
    try:
        wanted.draft.rename(wanted.output)
        sync(wanted.output.parent)
    except OSError as error:
        raise from_os_error(error, "writing a bundle") from error
    return found


def _earlier(draft: Path, bundle: Bundle) -> Examined | None:
    """A draft of just this bundle, if there is one and it is whole: its signatures count."""
    try:
        same = (draft / FILE).read_bytes() == bundle.to_bytes()
        return examined(draft) if same else None
    except (OSError, CorruptError, NotFoundError):
        return None


def _signed(found: Examined | None) -> frozenset[str]:
    return found.signers if found is not None else frozenset()


def _named(signers: Sequence[Signer]) -> frozenset[str]:
    return frozenset(item.public.fingerprint for item in signers)


def _lacking(wanted: Wanted, signers: frozenset[str]) -> list[gate.Missing]:
    spec, base = wanted.model.spec, wanted.model.origin.lineage.base
    facts = gate.Facts(
        model=spec.run.license,
        data=spec.data.license,
        base=base.license if base is not None else None,
        evaluations=wanted.record.evaluations,
        claimed=wanted.model.origin.evaluations,
        findings=wanted.record.findings if wanted.record.looked else None,
        signers=signers,
    )
    return gate.missing(spec.release, facts)
