"""What the coordinator tells Prometheus, as it is when it asks: the run's state as samples, and what was counted since
the start. Every label has few values: no member has a series of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from coordinator import decisions as d
from coordinator.records import Evaluation
from coordinator.rounds import Poll
from coordinator.state import State
from swarm.metrics import PHASES
from swarm.ranges import total
from swarm.version import __version__

_OTHER = "other"  # what a member says is a stranger's word: it must not make series


class RunMetrics(Collector):
    """Of a run whose state is `look()`; `dropped()` is what each tracker did not get. `scores` are the metrics that
    the run spec asks for.
    """

    def __init__(
        self, look: Callable[[], State], dropped: Callable[[], Mapping[str, int]], scores: Iterable[str] = ()
    ) -> None:
        self._look = look
        self._dropped = dropped
        self._scores = frozenset(scores)
        self._decided: Counter[str] = Counter()

    def decided(self, decision: d.Decision) -> None:
        """For `Engine.listeners`, which call one after the other."""
        self._decided[type(decision).__name__] += 1

    def collect(self) -> Iterator[Metric]:
        yield from families(self._look(), self._scores)
        yield _counter("decisions", "What the coordinator decided.", "kind", dict(sorted(self._decided.items())))
        yield _counter("tracker_dropped", "What a tracker was too slow for.", "tracker", self._dropped())


def families(state: State, scores: Iterable[str] = ()) -> Iterator[Metric]:
    """The run as `state` has it."""
    run = {"run": state.terms.run, "version": __version__}
    yield InfoMetricFamily("garage_swarm_run", "Which run this is, and the coordinator's version.", value=run)
    yield from _progress(state)
    yield from _members(state)
    yield from _samples(state)
    yield from _checkpoint(state)
    yield from _last_round(state)
    if state.evaluations:
        yield from _evaluation(state.evaluations[max(state.evaluations)], scores)


def _progress(state: State) -> Iterator[Metric]:
    yield _gauge("round", "Rounds finished; falls when the run goes back.", state.round)
    yield _gauge("rounds_planned", "The round at which the run is finished.", state.terms.total_rounds)
    yield _gauge("finished", "1 when the run is finished.", state.finished)
    yield _gauge("paused", "1 while its maintainer lets the run pause.", bool(state.steering.paused))
    yield _gauge("halted", "1 when the run was stopped because it diverged again and again.", bool(state.halted))
    yield _gauge("lineage", "How often the run went back by rule.", state.lineage)
    yield _gauge("banned_keys", "Keys that are banned.", len(state.bans))


def _members(state: State) -> Iterator[Metric]:
    live = [member for member in state.members.values() if member.live]
    phases = Counter(dict.fromkeys((*PHASES, _OTHER), 0))
    phases.update(member.pulse.phase if member.pulse.phase in PHASES else _OTHER for member in live)
    yield _gauge("members", "Live members, by what they say they do.", phases, "phase")
    waiting = sum(company.live - company.weighing for company in state.company.values())
    yield _gauge("members_on_probation", "Live members whose updates weigh nothing yet, or again.", waiting)
    speed = state.tempo.samples_per_second
    yield _gauge("samples_per_second", "What the live members say they compute together.", speed)


def _samples(state: State) -> Iterator[Metric]:
    ledger = state.ledger
    leased = sum(total(lease.left) for lease in ledger.leases.values())
    yield _gauge("global_samples", "Samples in all finished rounds, as most members saw them.", state.global_samples)
    yield _gauge("counted_samples", "Samples that the ledger counts.", ledger.counted_samples)
    yield _gauge("leased_samples", "Samples that are lent and not reported yet.", leased)
    yield _gauge("leases", "Open leases.", len(ledger.leases))


def _checkpoint(state: State) -> Iterator[Metric]:
    latest = state.latest
    yield _gauge("checkpoint_round", "The round of the latest checkpoint.", latest.round)
    yield _gauge("checkpoint_bytes", "Its size.", latest.size)
    yield _gauge("checkpoint_timestamp_seconds", "When it was made, in Unix seconds.", latest.created_at)


def _last_round(state: State) -> Iterator[Metric]:
    """The newest round of which more reports can hardly come: the one before the last, unless there is no other."""
    number = state.round - (1 if state.complete or state.round - 2 not in state.votes else 2)
    if poll := state.votes.get(number):
        yield from _round(number, poll)


def _round(number: int, poll: Poll) -> Iterator[Metric]:
    seen, votes = poll.summary(number), poll.votes.values()
    moved = {"sent": sum(v.bytes_sent for v in votes), "received": sum(v.bytes_received for v in votes)}
    yield _gauge("reported_round", "The round that the garage_swarm_round_… below are about.", number)
    yield _gauge("round_loss", "Training loss in nats per token, over all reports, by their samples.", seen.loss)
    yield _gauge("round_samples", "Samples of the whole swarm in the round.", seen.samples)
    yield _gauge("round_members", "Members in the round's group.", seen.members)
    yield _gauge("round_agreed", "1 when all reports name the same digest.", seen.agreed)
    yield _gauge("round_compute_seconds", "The longest that a member computed.", seen.compute_seconds)
    yield _gauge("round_exchange_seconds", "The longest that a member did not compute.", seen.exchange_seconds)
    yield _gauge("round_update_bytes", "Bytes of updates, over all reports.", moved, "direction")


def _evaluation(found: Evaluation, scores: Iterable[str]) -> Iterator[Metric]:
    known = {name: found.metrics[name] for name in sorted(scores) if name in found.metrics}
    yield _gauge("heldout_round", "The round that was evaluated last.", found.round)
    yield _gauge("heldout_loss", "Its loss on the held-out samples, in nats per token.", found.heldout_loss)
    yield _gauge("heldout_score", "Its scores, by the metrics that the run spec names.", known, "metric")


def _gauge(name: str, says: str, value: float | Mapping[str, float], label: str = "") -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(f"garage_swarm_{name}", says, value=float(value))
    family = GaugeMetricFamily(f"garage_swarm_{name}", says, labels=[label])
    for key, one in value.items():
        family.add_metric([key], float(one))
    return family


def _counter(name: str, says: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"garage_swarm_{name}", says, labels=[label])
    for key, one in values.items():
        family.add_metric([key], one)
    return family
