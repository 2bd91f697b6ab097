"""Where a model comes from, as its papers say it: made by `swarm export` from what the coordinator tells anybody.

The ledger root is one hash over all counted ranges: an RFC 6962 Merkle tree over lines, see `root`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

from swarm.bundle.manifest import Base, Contributor, Evaluation, Lineage
from swarm.errors import CorruptError
from swarm.modelcard import Release
from swarm.proto import coordinator_pb2 as pb
from swarm.ranges import Range, merge, total
from swarm.sections import Section
from swarm.texts import shown
from swarm.version import __version__

FILE = "lineage.json"  # beside an exported model
_TOOLS = ("torch", "transformers", "peft", "safetensors", "tokenizers")


class Origin(Section):
    """What an exported model knows of its run."""

    created: str
    lineage: Lineage
    contributors: tuple[Contributor, ...]
    evaluations: tuple[Evaluation, ...]
    tools: dict[str, str]


def origin(release: Release, fingerprint: str, ledger: Sequence[pb.LedgerEntry], first: pb.Checkpoint | None) -> Origin:
    """`ledger`: the entries of the rounds before the checkpoint's; `first`: the checkpoint of round 0, if it is kept.

    Raises CorruptError when what the coordinator says makes no sense.
    """
    try:
        return Origin(
            created=moment(release.checkpoint.created_at),
            lineage=_lineage(release, fingerprint, ledger, first),
            contributors=tuple(contributors(release.status.members, ledger)),
            evaluations=tuple(_held_out(release)),
            tools={"garage-swarm": __version__, **{name: there for name in _TOOLS if (there := _version(name))}},
        )
    except (ValueError, OverflowError, OSError) as error:  # a moment may lie beyond all calendars
        what = f"What the coordinator says of the run makes no sense: {shown(str(error))[:300]}"
        raise CorruptError(what, "Tell the run's maintainer.") from error


def _lineage(
    release: Release, fingerprint: str, ledger: Sequence[pb.LedgerEntry], first: pb.Checkpoint | None
) -> Lineage:
    run, checkpoint = release.run, release.checkpoint
    return Lineage(
        run=run.name,
        fingerprint=fingerprint,
        spec=sha256(release.spec.to_toml().encode()).hexdigest(),
        data=listing([*(blob.sha256 for blob in run.shards), run.heldout.sha256]),
        round=checkpoint.round,
        state=checkpoint.digest,
        ledger=root(ledger),
        samples=total(Range(entry.range.start, entry.range.stop) for entry in _counted(ledger)),
        base=_base(release, first),
    )


def moment(seconds: float) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def listing(digests: Iterable[str]) -> str:
    """One digest of several files: SHA-256 over their SHA-256, in hex, a line each."""
    return sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def lines(entries: Iterable[pb.LedgerEntry]) -> list[str]:
    """What the ledger root is made of: `ROUND MEMBER START STOP` for each counted range, sorted by round, start and
    member. What one member counted of touching positions in one round is one range, however it was lent.
    """
    parts: dict[tuple[int, str], list[Range]] = {}
    for entry in _counted(entries):
        found = parts.setdefault((entry.round, entry.member_id), [])
        found.append(Range(entry.range.start, entry.range.stop))
    rows = sorted(
        (round_, item.start, member, item.stop) for (round_, member), found in parts.items() for item in merge(found)
    )
    return [f"{round_} {member} {start} {stop}" for round_, start, member, stop in rows]


def root(entries: Iterable[pb.LedgerEntry]) -> str:
    """The ledger root: the Merkle tree hash of `lines` (RFC 6962, section 2.1), in hex."""
    return merkle([line.encode() for line in lines(entries)]).hex()


def merkle(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1: a member can show with a few hashes that its range is in the tree."""
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + merkle(leaves[:half]) + merkle(leaves[half:])).digest()


def contributors(members: Iterable[pb.Member], entries: Iterable[pb.LedgerEntry]) -> list[Contributor]:
    """Those who agreed to be named in the model's papers (`swarm join --credit`), most samples first."""
    credit = {member.member_id: member.credit for member in members if member.credit}
    samples: dict[str, int] = {}
    rounds: dict[str, set[int]] = {}
    for entry in _counted(entries):
        if name := credit.get(entry.member_id):
            samples[name] = samples.get(name, 0) + entry.range.stop - entry.range.start
            rounds.setdefault(name, set()).add(entry.round)
    ordered = sorted(samples, key=lambda name: (-samples[name], name))
    return [Contributor(name=name, samples=samples[name], rounds=len(rounds[name])) for name in ordered]


def _counted(entries: Iterable[pb.LedgerEntry]) -> list[pb.LedgerEntry]:
    return [entry for entry in entries if entry.state == "counted" and entry.range.stop > entry.range.start]


def _base(release: Release, first: pb.Checkpoint | None) -> Base | None:
    """Without adapters, the weights that training began with are the state of round 0, which is always kept."""
    model = release.spec.model
    digest = listing(blob.sha256 for blob in sorted(release.run.base, key=lambda blob: blob.name))
    if not model.adapts:
        digest = first.digest if first is not None else ""
    if model.source.startswith("preset:") or not digest:
        return None
    licence = release.spec.release.base_license
    return Base(source=model.source, revision=model.revision, sha256=digest, license=licence)


def _held_out(release: Release) -> Iterable[Evaluation]:
    """What the run itself measured of this checkpoint, as the suite `heldout`."""
    checkpoint, samples = release.checkpoint, release.run.data.heldout_samples
    if checkpoint.has_heldout_loss:
        yield Evaluation(suite="heldout", metric="loss", value=checkpoint.heldout_loss, samples=samples)
    for name, value in sorted(checkpoint.metrics.items()):
        yield Evaluation(suite="heldout", metric=name, value=value, samples=samples)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
