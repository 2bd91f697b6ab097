"""A rehearsal: several swarms drawn from the same assumptions, what they do, and what that means for people."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from peer.needs import Needs, needs_of
from swarm.checks import Check
from swarm.cli.rehearsal.findings import findings
from swarm.cli.rehearsal.plan import Plan
from swarm.cli.rehearsal.seen import Seen
from swarm.cli.rehearsal.stage import Stage

_DRAWS = 5  # swarms
_MOST_SEATS = 5_000  # peers times rounds of a draw
_FEWEST_ROUNDS, _MOST_ROUNDS = 12, 400
_DEPARTURES = 10.0  # that a draw should see
_TALK_BYTES = {"gradient": 20e3, "local": 2e3}  # of a peer each second and way, beside updates (decision 0009)
_HOUR = 3600.0


@dataclass(frozen=True)
class Figure:
    """The median of the drawn swarms, and the lowest and highest of them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rehearsal:
    """How a run would go. Figures are of the whole swarm, or of a peer that is there all night, where it says so:

    `rounds_per_hour`, `samples_per_second` (that count and are no attacker's), `utilisation` (part of the peers' time
    in which they compute what counts), `members` of a round, `sent_per_round` and `received_per_round` (bytes of a
    peer, updates alone), `up_per_night` and `down_per_night` (bytes of a peer, all), `training_seconds` until the last
    round, and `nights` that those take. `needs` are a volunteer's, `coordinator_disk` is in bytes, `epochs` how often
    the data are used (0: not known).
    """

    figures: dict[str, Figure]
    needs: Needs
    coordinator_disk: int
    epochs: float
    findings: list[Check]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def rehearse(plan: Plan) -> Rehearsal:
    """The same for the same plan. Some seconds of computing."""
    gc.disable()  # half of the time would go into searching millions of values for cycles, of which there are none
    try:
        draws = [_watched(plan, plan.swarm.seed + number) for number in range(_DRAWS)]
    finally:
        gc.enable()
    needs = needs_of(plan.run, plan.spec, plan.config)
    figures = {name: _figure(of, plan, draws) for name, of in _FIGURES.items()}
    disk, epochs = coordinator_disk(plan), _epochs(plan, draws)
    return Rehearsal(figures, needs, disk, epochs, findings(plan, draws, needs, disk, epochs))


def _watched(plan: Plan, seed: int) -> Seen:
    swarm = plan.swarm
    rounds = min(_MOST_ROUNDS, max(_FEWEST_ROUNDS, _MOST_SEATS // swarm.peers))
    seconds = _DEPARTURES * _HOUR / (swarm.churn * swarm.peers) if swarm.churn else 0.0
    return Stage(plan, seed).run(seconds, _FEWEST_ROUNDS, rounds)


def coordinator_disk(plan: Plan) -> int:
    """Bytes: files, the newest checkpoints and the first, and one on its way."""
    files = (*plan.run.model, *plan.run.base, *plan.run.shards, plan.run.heldout)
    return sum(blob.size for blob in files) + (plan.spec.checkpoint.keep + 2) * plan.state


def _epochs(plan: Plan, draws: Sequence[Seen]) -> float:
    made = [seen.samples / seen.rounds for seen in draws if seen.rounds]
    return plan.spec.training.rounds * median(made) / plan.epoch if made and plan.epoch else 0.0


def _figure(of: Callable[[Plan, Seen], float], plan: Plan, draws: Sequence[Seen]) -> Figure:
    values = [of(plan, seen) if seen.rounds else 0.0 for seen in draws]
    return Figure(median(values), min(values), max(values))


def _per_night(plan: Plan, seen: Seen, moved: float) -> float:
    """Of a peer that is there all night; `moved` are bytes of all peers in the time that was seen."""
    talk = _TALK_BYTES[plan.spec.training.mode] * (plan.swarm.peers > 1)
    return _HOUR * plan.swarm.night * (moved / seen.present + talk)


_FIGURES: dict[str, Callable[[Plan, Seen], float]] = {
    "rounds_per_hour": lambda _, seen: _HOUR * seen.rounds / seen.seconds,
    "samples_per_second": lambda _, seen: seen.useful / seen.seconds,
    "utilisation": lambda _, seen: seen.computing / seen.present,
    "members": lambda _, seen: seen.seats / seen.rounds,
    "sent_per_round": lambda _, seen: seen.sent / seen.seats,
    "received_per_round": lambda _, seen: seen.received / seen.seats,
    "up_per_night": lambda plan, seen: _per_night(plan, seen, seen.sent + seen.states + seen.checkpoints),
    "down_per_night": lambda plan, seen: _per_night(plan, seen, seen.received + seen.states),
    "training_seconds": lambda plan, seen: plan.spec.training.rounds * seen.seconds / seen.rounds,
    "nights": lambda plan, seen: plan.spec.training.rounds * seen.seconds / seen.rounds / (_HOUR * plan.swarm.night),
}
