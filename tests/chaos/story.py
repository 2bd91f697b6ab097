"""A chaos run: a swarm of real processes, a plan that is carried out, the calm after it, and what is found then."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from swarm.proto import coordinator_pb2 as pb
from tests.chaos import verdict
from tests.chaos.plan import Fault
from tests.chaos.stage import Stage, counted
from tests.chaos.verdict import Done, Line
from tests.harness import Event
from tests.swarm_run import SwarmRun, took_part

_LOOK_SECONDS = 0.1
_TOGETHER_SECONDS = 150.0  # until all train together, at the beginning and after the last fault; two cores for all
_ROUNDS_MORE = 3  # that all of them do together then


@dataclass
class Record:
    """What happened; times are seconds since `began`, when the first fault could happen."""

    began: float = 0.0  # monotonic seconds
    happened: list[tuple[float, Fault]] = field(default_factory=list)
    said: list[tuple[float, str, Event]] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def tell(run: SwarmRun, stage: Stage, faults: Sequence[Fault], seconds: float, say: Callable[[str], None]) -> Record:
    """Carry out the plan for `seconds`, let all heal, see that the swarm is one and goes on, stop it and judge it."""
    record = Record()
    try:
        _together(stage)
        say(f"{len(stage.names)} peers train together")
        record.began = time.monotonic()
        record.happened = _carry_out(stage, faults, record.began, seconds, say)
        record.seconds = time.monotonic() - record.began
        assert record.happened or not faults, "no fault happened: the peers were never well"
        say(f"all heals; together again after {_together(stage):.1f} s")
        stage.stop()
    except AssertionError as error:
        record.wrong.append(str(error))
    _write_down(stage, record)
    if not (record.wrong or stage.wrong):
        record.wrong += _judged(run, stage, record)
    record.wrong += stage.wrong
    return record


def _together(stage: Stage) -> float:
    """Wait until every peer did some rounds together with all others; after how many seconds the first was done."""
    began, first = time.monotonic(), 0.0
    rounds: defaultdict[str, set[int]] = defaultdict(set)
    while any(len(rounds[name]) < _ROUNDS_MORE for name in stage.names):
        stage.look()
        for name, event in _since(stage, began):
            if event["members"] == len(stage.names):
                rounds[name].add(event["round"])
        first = first or (time.monotonic() - began if len(rounds) == len(stage.names) else 0.0)
        if time.monotonic() - began > _TOGETHER_SECONDS:
            raise AssertionError(f"not together after {_TOGETHER_SECONDS:.0f} s: {_state(stage)}")
        time.sleep(_LOOK_SECONDS)
    return first


def _since(stage: Stage, begin: float) -> Iterator[tuple[str, Event]]:
    """The rounds that were finished from `begin` on."""
    for life in stage.lives:
        for at, event in reversed(life.heard):
            if at < begin:
                break
            if took_part(event):
                yield life.name, event


def _state(stage: Stage) -> str:
    """What each peer said last."""
    last = {life.name: life.heard[-1:] for life in stage.lives}
    return "; ".join(f"{name}: {[event for _, event in said]}" for name, said in last.items())


def _carry_out(
    stage: Stage, faults: Sequence[Fault], began: float, seconds: float, say: Callable[[str], None]
) -> list[tuple[float, Fault]]:
    """What happened when. A fault waits until the swarm has got over those before it, and all later ones with it."""
    happened, lasting, left, late = [], list[tuple[float, ExitStack]](), list(faults), 0.0
    with ExitStack() as everything:
        while (now := time.monotonic() - began) < seconds:
            for end, block in [one for one in lasting if one[0] <= now]:
                lasting.remove((end, block))
                block.close()
            if left and left[0].at + late <= now:
                fault, late = left[0], now - left[0].at
                if stage.bears(fault):
                    say(str(left.pop(0)))
                    happened.append((now, fault))
                    lasting.append((now + fault.seconds, _begin(stage, fault, everything)))
            stage.look()
            time.sleep(_LOOK_SECONDS)
    return happened


def _begin(stage: Stage, fault: Fault, everything: ExitStack) -> ExitStack:
    """What ends the fault when it is closed, with everything at the latest."""
    block = everything.enter_context(ExitStack())
    block.enter_context(stage.befall(fault))
    return block


def _write_down(stage: Stage, record: Record) -> None:
    """All that peers said."""
    for number, life in enumerate(stage.lives):
        record.said += [(at - record.began, life.name, event) for at, event in life.heard]
        record.done += [Done.of(number, life.name, event) for _, event in life.heard if took_part(event)]
    record.said.sort(key=lambda one: one[0])


def _judged(run: SwarmRun, stage: Stage, record: Record) -> list[str]:
    """What does not hold of what was said and written down."""
    with run.client() as client:
        entries, status, newest = client.ledger(), client.status(), max(one.round for one in client.checkpoints())
    names = {member.member_id: member.name for member in status.members}
    record.lines = [_line(entry, names) for entry in entries]
    wrong = verdict.broken(record.done, record.lines, _receipts(stage))
    if lost := stage.promised - counted(entries):
        wrong.append(f"acknowledged, but not in the ledger when all was over: {sorted(lost)[:5]}")
    if newest < stage.kept:
        wrong.append(f"the checkpoint of round {stage.kept} was acknowledged, but round {newest} is the newest kept")
    wrong += _command(run, "ledger", "replay", run.invite, "--json")
    stage.stop_coordinator()
    for name in ("coordinator", *stage.names):
        wrong += _command(run, "fsck", str(run.folder / name), "--json")
    return wrong + stage.wrong


def _line(entry: pb.LedgerEntry, names: dict[str, str]) -> Line:
    return Line(entry.round, names[entry.member_id], entry.state, entry.range.stop - entry.range.start)


def _receipts(stage: Stage) -> Counter[str]:
    """What each peer was told that counts, in all its lives."""
    told: Counter[str] = Counter()
    for life in stage.lives:
        told[life.name] += max((event.get("counted", 0) for _, event in life.heard), default=0)
    return told


def _command(run: SwarmRun, *words: str) -> list[str]:
    """What a command found wrong."""
    program = run.command(*words)
    code = program.finish(60)
    if not code:
        return []
    said = "\n".join(str(event.get("text", event)) for event in program.events)
    return [f"swarm {' '.join(words[:2])} ended with {code}: {program.stderr[-500:]} {json.dumps(said)[:3000]}"]
