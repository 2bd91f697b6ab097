"""What a volunteer's screen knows, and how it looks. Pure: events come in, lines and tables come out.

A peer says events, dicts with the key "event": "status" (phase, why, round, samples, loss, rate, members, and what is
in "standing"), "standing" (counted, counted_before, unheard, rejected, rejected_why, share, probation), "round"
(round, loss, swarm_samples, members, seconds, sent, received), "quarantine" (fault, why, round, in_a_row), "heldout"
(round, loss, metrics), "note" (text), "machine" (name, celsius, watts, today, month, until), "pause" (text), "end"
(counted, rejected, finished). A peer with several GPUs names the one that an event is about: "seat".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarm.cli.output import add_row, count, duration, members, metrics, rate
from swarm.texts import shown
from swarm.units import size

Event = dict[str, Any]

_KEPT = 6  # lines of history below the live table
_CURVE = 40  # rounds of the loss curve
_PACE = 5  # rounds whose median says how long the next one takes
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class View:
    """All that the screen knows; `after` makes the next one. Times are seconds of the caller's clock."""

    phase: str = "starting"
    why: str = ""
    round: int = 0
    samples: int = 0
    loss: float | None = None
    rate: float = 0.0
    members: int = 0
    counted: int = 0
    counted_before: int = 0  # in earlier joins
    unheard: int = 0  # done, and not answered by the coordinator yet
    rejected: int = 0
    rejected_why: str = ""
    share: float = 1.0  # what each sample weighs that is lent now
    probation: str = ""  # why that is nothing
    losses: tuple[float, ...] = ()  # of the last rounds
    spans: tuple[float, ...] = ()  # how long they took, seconds
    since: float = 0.0  # when the current round began
    sent: int = 0  # bytes of updates since the start
    received: int = 0
    heldout: tuple[float, ...] = ()  # losses of what is not trained on
    measured: str = ""  # the newest of them, in words
    device: str = ""
    today: int = 0  # bytes of all that this machine sent and received
    month: int = 0
    until: str = ""  # when the hours end
    pause: str = ""  # why it does not train now
    history: tuple[str, ...] = ()

    def after(self, event: Event, now: float = 0.0) -> View:
        """The view once `event` has happened; keys that it does not know are left out."""
        kept = {key: value for key, value in event.items() if key in _STATUS and value is not None}
        match event["event"]:
            case "status":
                return replace(self, **kept)
            case "machine":
                shown = {key: event[key] for key in ("today", "month", "until")}
                return replace(self, device=_device(event), **shown)
            case "heldout":
                heldout = (*self.heldout, float(event["loss"]))[-_CURVE:]
                return replace(self, heldout=heldout, measured=_measured(event))
            case "pause":
                return replace(self, pause=str(event["text"]))
            case "round":
                kept = {key: value for key, value in kept.items() if key in _STANDING}
                return self._with_line(event, **kept, **self._of_round(event, now))
        return self._with_line(event, **{key: value for key, value in kept.items() if key in _STANDING})

    def _with_line(self, event: Event, **changes: Any) -> View:
        line = line_of(event)
        return replace(self, history=(*self.history, *([line] if line else []))[-_KEPT:], **changes)

    def _of_round(self, event: Event, now: float) -> dict[str, Any]:
        loss = event.get("loss")
        return {
            "losses": (*self.losses, *([] if loss is None else [float(loss)]))[-_CURVE:],
            "spans": (*self.spans, float(event["seconds"]))[-_PACE:],
            "since": now,
            "sent": self.sent + int(event.get("sent", 0)),
            "received": self.received + int(event.get("received", 0)),
        }


_STANDING = ("counted", "counted_before", "unheard", "rejected", "rejected_why", "share", "probation")
_STATUS = ("phase", "why", "round", "samples", "loss", "rate", "members", *_STANDING)


def line_of(event: Event) -> str:
    """`event` in one line; empty for events that need none."""
    match event["event"]:
        case "note" | "pause":
            return str(event["text"])
        case "round":
            return _round(event)
        case "quarantine":
            return f"in quarantine since round {event['round']}, what was computed since is dropped: {event['why']}"
        case "end":
            end = "The run is finished." if event.get("finished") else "Stopped."
            return f"{end} {count(event['counted'])} of your samples counted, {count(event['rejected'])} were rejected."
    return ""


def _round(event: Event) -> str:
    loss = "" if event.get("loss") is None else f"loss {event['loss']:.3f}  "
    dropped = f"  not counted: {event['dropped_why']}" if event.get("dropped_why") else ""
    return (
        f"round {event['round']} done  {loss}{count(event['swarm_samples'])} samples  "
        f"{members(event['members'])}  {event['seconds']:.1f} s{dropped}"
    )


def render_all(views: Mapping[str, View], now: float = 0.0) -> RenderableType:
    """The live screen of a peer with several GPUs, by their names."""
    parts: list[RenderableType] = []
    for seat, view in views.items():
        parts += [Text(shown(seat), style="bold underline"), render(view, now), Text()]
    return Group(*parts)


def render(view: View, now: float = 0.0) -> RenderableType:
    """The live screen at `now`."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in _rows(view, now):
        if value:
            add_row(table, name, value)
    return Group(table, Text(), *(Text(shown(line), style="dim") for line in view.history))


def _rows(view: View, now: float) -> list[tuple[str, str]]:
    loss = "" if view.loss is None else f"{view.loss:.3f}  {curve(view.losses)}"
    return [
        ("Now", view.pause or (f"{view.phase}: {view.why}" if view.why else view.phase)),
        ("Round", "" if view.pause or view.phase == "starting" else _round_now(view, now)),
        ("Loss", loss),
        ("Held out", view.measured and f"{view.measured}  {curve(view.heldout)}"),
        ("Speed", rate(view.rate) if view.rate else ""),
        ("Swarm", members(view.members) if view.members else ""),
        ("Credit", _credit(view)),
        ("Weight", "" if view.share == 1 else view.probation or f"each sample weighs {view.share:.0%} of a full one"),
        ("Device", view.device),
        ("Updates", f"{size(view.sent)} sent, {size(view.received)} received" if view.sent else ""),
        ("Traffic", f"{size(view.today)} today, {size(view.month)} this month" if view.month else ""),
        ("Pause", f"next at {view.until}" if view.until and not view.pause else ""),
    ]


def _round_now(view: View, now: float) -> str:
    return f"{view.round}, {count(view.samples)} samples of yours so far{_countdown(view, now)}"


def _countdown(view: View, now: float) -> str:
    """When the round will be over, if it takes as long as the last ones."""
    if not view.spans:
        return ""
    left = view.since + median(view.spans) - now
    return f"; it ends in about {duration(left)}" if left >= 1 else ""


def curve(losses: Sequence[float]) -> str:
    """Numbers as a line of bars, the lowest and the highest of them at both ends of the scale."""
    if len(losses) < 2:
        return ""
    low, span = min(losses), max(losses) - min(losses)
    return "".join(_BARS[round((loss - low) / span * (len(_BARS) - 1)) if span else 0] for loss in losses)


def _device(event: Event) -> str:
    """What it computes on, and how hot that is."""
    heat = [f"{event[key]:.0f} {unit}" for key, unit in (("celsius", "°C"), ("watts", "W")) if event.get(key)]
    return ", ".join([str(event.get("name", "")), *heat])


def _measured(event: Event) -> str:
    scores = metrics(event.get("metrics", {}))
    return f"{event['loss']:.3f} after round {event['round']}{scores and f', {scores}'}"


def _credit(view: View) -> str:
    rejected = f", {count(view.rejected)} rejected ({view.rejected_why})" if view.rejected else ""
    in_all = f" ({count(view.counted_before + view.counted)} in all)" if view.counted_before else ""
    return f"{count(view.counted)} samples counted{in_all}, {count(view.samples + view.unheard)} pending{rejected}"
