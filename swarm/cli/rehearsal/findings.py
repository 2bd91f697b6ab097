"""What would go wrong, why, and what to change. Pure: what was seen goes in, checks come out.

Thresholds are judgements, each beside its rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from peer.agreement import FEWEST
from peer.needs import Needs
from swarm.checks import Check, Level, verdicts
from swarm.cli.rehearsal.plan import MEGABIT, Plan
from swarm.cli.rehearsal.seen import Seen
from swarm.units import size

_EPOCHS = 4.0  # more say hardly anything new: Muennighoff et al. 2023 (arXiv 2305.16264)
_LEASED_ROUNDS = 20  # that are promised without the coordinator
_CARDS = (6, 8, 12, 16, 24, 48)  # GB, of usual graphics cards
_MINUTE, _HOUR = 60.0, 3600.0

_HOLDS = {
    "rounds": "rounds are made, and none stands still",
    "batch": "rounds are about as large as training.target_batch_size",
    "exchange": "the updates fit the links",
    "peers": "slow peers and those who come and go cost little time",
    "attackers": "none were supposed",
    "leases": "leases bridge a coordinator that is away for 20 rounds",
    "data": f"used at most {_EPOCHS:g} times",
    "checkpoints": "they are at the coordinator long before the next is due",
    "start": "the first evening begins within half an hour",
    "disk": "there is room at the coordinator",
}


@dataclass(frozen=True)
class Case:
    """A plan, what was seen of its swarms in which rounds were made, and what follows from its sizes alone."""

    plan: Plan
    draws: Sequence[Seen]
    needs: Needs
    disk: int
    epochs: float

    def usual(self, of: Callable[[Seen], float]) -> float:
        """The median over the swarms."""
        return median(of(seen) for seen in self.draws)


def findings(plan: Plan, draws: Sequence[Seen], needs: Needs, disk: int, epochs: float) -> list[Check]:
    """One check for each name, ok or with what is wrong."""
    case = Case(plan, [seen for seen in draws if seen.rounds], needs, disk, epochs)
    found = [*_rounds(case, draws), *(item for rule in _ALWAYS for item in rule(case))]
    if case.draws:
        found += [item for rule in _OF_ROUNDS for item in rule(case)]
        holds = _HOLDS
    else:
        holds = {name: text for name, text in _HOLDS.items() if name not in ("batch", "exchange", "peers", "leases")}
    if plan.swarm.attackers:
        holds = {**holds, "attackers": "the run's rules stand them"}
    return verdicts(holds, found)


# ── what rounds show ───────────────────────────────────────────────────────────────────────────


def _rounds(case: Case, draws: Sequence[Seen]) -> Iterator[Check]:
    stopped = [seen.why for seen in draws if seen.why]
    if stopped:
        remedy = (
            'Choose training.mode = "local", a stronger exchange.compression, or a longer exchange.timeout_seconds.'
        )
        if "takes" not in stopped[0]:
            remedy = "Invite more peers, or ask for fewer: exchange.min_contributors."
        yield Check("rounds", Level.FAILED, f"no round can be made: {stopped[0]}", remedy)
    if not case.draws:
        return
    stalled = case.usual(lambda seen: seen.stalled / seen.seconds)
    if stalled > 0.02:  # a minute in an hour
        level = Level.FAILED if stalled > 0.25 else Level.WARNING
        says = f"{stalled:.0%} of the time too few are there: more than half of those who made a round make the next"
        yield Check("rounds", level, says, "More peers, or steadier ones: with many no majority goes at once.")


def _batch(case: Case) -> Iterator[Check]:
    target = case.plan.spec.training.target_batch_size
    made = case.usual(lambda seen: seen.samples / seen.rounds)
    if 0.7 < made / target < 1.4:
        return
    if case.plan.local:
        remedy = f"Set training.target_batch_size to {_rounded(made)}: the schedule's warm-up and end count on it."
    else:
        remedy = (
            f"Set training.target_batch_size to {_rounded(1.5 * made)} or more, or a smaller micro_batch_size: every "
            "peer begins a batch before it hears that there are enough."
        )
    level = Level.FAILED if made > 4 * target and not case.plan.local else Level.WARNING
    yield Check("batch", level, f"rounds hold {made:.0f} samples where the spec expects {target}", remedy)


def _exchange(case: Case) -> Iterator[Check]:
    part = case.usual(lambda seen: seen.exchanging / seen.seconds)
    longest = max(seen.longest for seen in case.draws)
    patience = case.plan.spec.exchange.timeout_seconds
    if longest > 0.5 * patience:
        says = f"an exchange takes up to {longest:.0f} s, and fails after {patience:g} s"
        remedy = f"Set exchange.timeout_seconds to {_rounded(3 * longest)} or more."
        yield Check("exchange", Level.WARNING, says, remedy)
    if part > 0.2 and not case.plan.overlaps:
        level = Level.FAILED if part > 0.5 else Level.WARNING
        yield Check("exchange", level, f"{part:.0%} of the time updates travel and nobody computes", _less(case))
    if part > 0.8 and case.plan.overlaps:
        says = f"updates travel {part:.0%} of the time: the links, not the computers, say how long a round is"
        yield Check("exchange", Level.WARNING, says, "More local.steps, or a smaller local.kept.")


def _less(case: Case) -> str:
    if case.plan.local:
        return "Set local.overlap = true, more local.steps, or a smaller codec."
    return (
        'Set training.mode = "local", which exchanges once in many steps; or a stronger exchange.compression, or a '
        "larger training.target_batch_size."
    )


def _late(case: Case) -> Iterator[Check]:
    part = case.usual(lambda seen: seen.late / max(1, seen.seats))
    if part > 0.03:
        grace = case.plan.spec.exchange.grace_seconds
        says = f"{part:.0%} of the peers miss the end of a round, and their work with it: a sample takes them too long"
        remedy = f"Set exchange.grace_seconds (now {grace:g}) higher, or a shorter data.sequence_length."
        yield Check("peers", Level.WARNING, says, remedy)


def _short(case: Case) -> Iterator[Check]:
    spec = case.plan.spec
    part = case.usual(lambda seen: seen.short / max(1, seen.seats))
    if part > 0.25:
        says = f"{part:.0%} of the peers do not do all of their {spec.local.steps} steps before a round closes"
        remedy = (
            "That costs them nothing: rounds do not wait for slow ones. For fuller updates set exchange.grace_seconds "
            f"(now {spec.exchange.grace_seconds:g}) or local.window_seconds (now {spec.local.window_seconds:g}) higher."
        )
        yield Check("peers", Level.WARNING, says, remedy)


def _idle(case: Case) -> Iterator[Check]:
    """Local mode: what is left of the peers' time beside computing and, without overlap, the exchange."""
    plan = case.plan
    if not plan.local:
        return
    busy = case.usual(lambda seen: seen.computing / seen.present)
    travel = 0.0 if plan.overlaps else case.usual(lambda seen: seen.exchanging / seen.seconds)
    if (idle := 1 - busy - travel) > 0.25:
        says = f"{idle:.0%} of their time peers have done their {plan.spec.local.steps} steps and wait for others"
        remedy = f"A shorter exchange.grace_seconds (now {plan.spec.exchange.grace_seconds:g}), or more local.steps."
        yield Check("peers", Level.WARNING, says, remedy)


def _guests(case: Case) -> Iterator[Check]:
    state = case.plan.state
    fetched = case.usual(lambda seen: seen.states / state)
    if fetched > 4 and case.usual(lambda seen: seen.missed) > 0.5 * fetched:
        says = f"who comes in fetches {size(state)}, and mostly that is an old state once it is here"
        yield Check("peers", Level.WARNING, says, "Longer rounds: a larger training.target_batch_size, or local mode.")


def _waiting(case: Case) -> Iterator[Check]:
    part = case.usual(lambda seen: seen.waiting / seen.seconds)
    if part > 0.15:
        grace = case.plan.spec.exchange.grace_seconds
        says = f"{part:.0%} of the time those who are ready wait for others, who went or fetch the state"
        remedy = f"A shorter exchange.grace_seconds (now {grace:g}), or longer rounds."
        yield Check("peers", Level.WARNING, says, remedy)


def _broken(case: Case) -> Iterator[Check]:
    part = case.usual(lambda seen: seen.broken / seen.seconds)
    if part > 0.1:
        patience = case.plan.spec.exchange.timeout_seconds
        says = f"{part:.0%} of the time goes into exchanges that fail, mostly because somebody goes in the middle"
        remedy = f"A shorter exchange.timeout_seconds (now {patience:g}), smaller updates, local mode."
        yield Check("peers", Level.WARNING, says, remedy)


def _leases(case: Case) -> Iterator[Check]:
    lease = case.usual(lambda seen: seen.lease)
    each = case.usual(lambda seen: seen.samples / max(1, seen.seats))
    if each and lease < _LEASED_ROUNDS * each:
        says = f"a lease is about {lease:.0f} samples, what a peer does in {lease / each:.1f} rounds"
        remedy = (
            "The data are few for so many peers. It works; but a coordinator that is away for longer stops training."
        )
        yield Check("leases", Level.WARNING, says, remedy)


def _checkpoints(case: Case) -> Iterator[Check]:
    plan = case.plan
    every = plan.spec.checkpoint.every_rounds * case.usual(lambda seen: seen.seconds / seen.rounds)
    takes = plan.state / (plan.swarm.uplink * MEGABIT)
    if takes > 0.25 * every:
        level = Level.FAILED if takes > every else Level.WARNING
        says = (
            f"a checkpoint of {size(plan.state)} takes its peer {takes:.0f} s to send, and is due every {every:.0f} s"
        )
        rounds = _rounded(4 * takes / every * plan.spec.checkpoint.every_rounds)
        yield Check("checkpoints", level, says, f"Set checkpoint.every_rounds to {rounds} or more.")


# ── what sizes and rules show ──────────────────────────────────────────────────────────────────


def _attackers(case: Case) -> Iterator[Check]:
    """Whether the run's rules stand them (`docs/decisions/0016-updates-of-strangers.md`)."""
    plan = case.plan
    swarm, spec = plan.swarm, plan.spec
    if not swarm.attackers:
        return
    if not plan.local and spec.exchange.aggregation == "mean":
        says = "the plain mean of gradient mode stands not even one: a single update may be as large as it likes"
        yield Check("attackers", Level.FAILED, says, 'Set exchange.aggregation = "centered_clip".')
        return
    if swarm.peers < FEWEST:
        says = f"with fewer than {FEWEST} peers there is no majority to compare an update with"
        yield Check("attackers", Level.FAILED, says, "More peers, or only those whom you know.")
        return
    part = max([swarm.attackers / swarm.peers, *(seen.liars for seen in case.draws)])
    weight = 2 * part / (1 + part)
    says = (
        f"they are up to {part:.0%} of a round, and may have {weight:.0%} of its weight: an update weighs at most that "
        "of twice the median's samples"
    )
    remedy = "Invite strangers with --slots and --weight, and set trust.probation_checks (5 or more) with a validator."
    if part >= 0.5:
        yield Check("attackers", Level.FAILED, f"{says}. They are the majority, and every rule is theirs", remedy)
    elif part > 0.3:
        says = f"{says}. The rules stand fewer than a half, but seven of sixteen who agreed did harm (docs/results.md)"
        yield Check("attackers", Level.WARNING, says, remedy)


def _data(case: Case) -> Iterator[Check]:
    plan = case.plan
    if not plan.epoch:
        says = "how many samples the data will make is not known here"
        yield Check("data", Level.WARNING, says, "`swarm data prepare` counts them.")
    elif case.epochs > _EPOCHS:
        says = f"the {plan.epoch:,} samples are used {case.epochs:.0f} times; beyond {_EPOCHS:g} little new is learned"
        yield Check("data", Level.WARNING, says, "More data, or fewer training.rounds.")


def _start(case: Case) -> Iterator[Check]:
    """The base comes from other peers as well, once one has it; all else from the coordinator."""
    plan = case.plan
    base = sum(blob.size for blob in plan.run.base)
    each = case.needs.download - base
    seconds = (plan.swarm.peers * each + base) / (plan.swarm.uplink * MEGABIT)
    if seconds > 30 * _MINUTE:
        says = (
            f"each peer fetches {size(case.needs.download)}, and the coordinator's {plan.swarm.uplink:g} Mbit/s are "
            f"busy for {seconds / _HOUR:.1f} h until all have begun"
        )
        remedy = "Put the coordinator on a faster line, or let peers begin one after the other; data.shards helps."
        yield Check("start", Level.WARNING, says, remedy)


def _disk(case: Case) -> Iterator[Check]:
    free = case.plan.disk_free
    if free and case.disk > free:
        says = f"the coordinator needs {size(case.disk)}, and {size(free)} are free here"
        yield Check("disk", Level.FAILED, says, "Another --data-dir, or a smaller checkpoint.keep.")


def card_of(device: int) -> str:
    """The smallest usual graphics card that a need of so many bytes fits."""
    fits = next((card for card in _CARDS if device * 1.1 < card * 1e9), 0)
    return f"fits cards of {fits} GB" if fits else f"fits no card of {_CARDS[-1]} GB"


def _rounded(number: float) -> int:
    """To two digits, upwards."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return int(-(-number // step) * step)


_ALWAYS = (_attackers, _data, _start, _disk)
_OF_ROUNDS = (_batch, _exchange, _late, _short, _idle, _guests, _waiting, _broken, _leases, _checkpoints)
