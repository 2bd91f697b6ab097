"""The consent card: what a volunteer agrees to before the first download. Pure text from what the coordinator says."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import TextWrapper
from typing import TYPE_CHECKING

from swarm import log
from swarm.cli.output import count
from swarm.tensorfile import atomic_write
from swarm.units import size

if TYPE_CHECKING:
    from peer.admission import Prospect
    from swarm.invite import Invite
    from swarm.proto import coordinator_pb2 as pb
    from swarm.runspec import RunSpec

logger = log.get(__name__)

Rows = list[tuple[str, str]]

_METHODS = {
    "full": "all weights are trained",
    "lora": "adapters are trained on a frozen base",
    "qlora": "adapters are trained on a frozen base in 4 or 8 bits",
}
_SENT = "updates of the weights that this machine trains, its counts of samples and its speed; no file of yours is read"
_SEEN = (
    "the other members and the maintainer see this machine's network address and the name {name!r}; "
    "the run may have a page, where everybody sees the name and what it did, but no address"
)


@dataclass(frozen=True)
class Activity:
    """What goes on in the run: live members, and seconds between two rounds (0 is unknown)."""

    members: int
    seconds: float

    @classmethod
    def of(cls, status: pb.Status) -> Activity:
        """From the last rounds."""
        ends = sorted(item.finished_at for item in status.rounds)
        gaps = len(ends) - 1
        seconds = (ends[-1] - ends[0]) / gaps if gaps > 0 else 0.0
        return cls(sum(member.live for member in status.members), seconds)


def terms(spec: RunSpec, invite: Invite) -> Rows:
    """What the maintainer decided; when it changes, the volunteer is asked again."""
    run, model, data = spec.run, spec.model, spec.data
    what = " – ".join(filter(None, (run.title or run.name, run.description)))
    who = run.maintainer or "the maintainer gives no name"
    revision = f" at {model.revision[:12]}" if model.revision else ""
    return [
        ("What", what),
        ("Who", f"{who}; coordinator {invite.address}, fingerprint {invite.fingerprint[:16]}"),
        ("Model", f"{model.source}{revision}: {_METHODS[model.method]}"),
        ("Data", f"{data.source}{f', {data.license}' if data.license else ''}"),
        ("Licence", f"{run.license or 'not stated'}, of the resulting model"),
        ("Sent", _SENT),
    ]


def costs(found: Prospect, activity: Activity, name: str) -> Rows:
    """What it takes of this machine, as far as that can be said before."""
    from peer.needs import update_bytes

    needs, machine = found.needs, found.machine
    sent = size(update_bytes(needs.trained, found.spec, max(activity.members, 1) + 1))
    alone = "none while nobody else is there; with one other " * (not activity.members)
    state = f"; and the state, {size(found.run.latest.size)}, when it is this machine's turn and at the end"
    often = f", {count(3600 / activity.seconds)} rounds an hour now" if activity.seconds else ""
    energy = f"at most {machine.watts / 1000:.2g} kWh an hour for the GPU" if machine.watts else "not known here"
    return [
        ("Seen", _SEEN.format(name=name)),
        ("Disk", f"about {size(needs.disk)}, of it {size(needs.download)} fetched at the start"),
        ("Traffic", f"{alone}about {sent} up and as much down in a round{often}{state}"),
        ("Energy", energy),
        ("End", "Ctrl-C, at any time; it leaves within seconds"),
    ]


def text(rows: Rows, width: int) -> str:
    """The card in plain lines of `width` characters at most."""
    indent = max(len(label) for label, _ in rows) + 4
    wrapper = TextWrapper(width, subsequent_indent=" " * indent, break_on_hyphens=False)
    return "\n".join(wrapper.fill(f"{f'  {label}':<{indent}}{value}") for label, value in rows)


def digest(rows: Rows) -> str:
    """What is kept of an agreement."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True)
class Agreement:
    """A file that says to which terms the user agreed: a run's, or a bundle's."""

    path: Path

    def holds(self, rows: Rows) -> bool:
        """Whether it was to these terms."""
        return self._kept() == digest(rows)

    def known(self) -> bool:
        """Whether there was an earlier one, to whatever terms."""
        return bool(self._kept())

    def keep(self, rows: Rows) -> None:
        """From now on it holds for these terms."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        agreed = {"terms": digest(rows), "agreed_at": time.time(), "rows": rows}
        with atomic_write(self.path) as file:
            file.write(json.dumps(agreed, indent=2).encode())

    def _kept(self) -> str:
        try:
            return str(json.loads(self.path.read_text())["terms"])
        except OSError:
            return ""
        except (ValueError, KeyError, TypeError):
            logger.warning("%s is torn or was altered; it is not used", self.path)
            return ""
