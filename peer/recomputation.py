"""Another member's round, done again by a checker in small steps between which its own rounds go on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from peer.codecs import Floats, codec_of
from peer.data import Samples
from peer.local_mode import LocalLearner, Start
from peer.merge import Contribution, understood
from peer.spotcheck import LARGEST, Likeness, Verdict, gain_of, judged, likeness, margin
from swarm.ranges import Range, total

Load = Callable[[Range], Samples]
Steps = Generator[None, None, Verdict]


@dataclass(frozen=True)
class Subject:
    """The positions that were counted for the member, in its order, and as many others."""

    own: Sequence[Range]
    control: Sequence[Range]


@dataclass(frozen=True)
class Kept:
    """What a checker keeps of a round: where it began, what the member sent, and of how many samples it said it was."""

    start: Start
    sent: dict[str, Floats]
    samples: int

    @classmethod
    def of(cls, learner: LocalLearner, sent: Contribution) -> Kept:
        """Of the round that the learner is about to end."""
        shapes = {name: tuple(values.shape) for name, values in learner.parameters.items()}
        return cls(learner.start(), understood(codec_of(learner.spec.local), sent.payload, shapes), sent.samples)


def examined(learner: LocalLearner, kept: Kept, subject: Subject, load: Load) -> Steps:
    """Each step leaves the model as it was. The learner must have begun nothing in its round."""
    if unfit := unfit_for(subject, kept.samples):
        return unfit
    likely = (yield from _likeness(learner, kept, subject, load)) if _small(learner) else None
    own = yield from gains(learner, kept, subject.own, load)
    control = yield from gains(learner, kept, subject.control, load)
    return judged(gain_of(own, control), likely, margin(learner.spec.local))


def unfit_for(subject: Subject, samples: int) -> Verdict | None:
    """What is said without looking at an update of so many samples; None when there is something to look at."""
    if (counted := total(subject.own)) < samples:
        return Verdict(False, f"it said that it sent an update of {samples} samples, and {counted} were counted")
    return None if subject.control else Verdict(None, "the data is too small for others to compare with")


def _small(learner: LocalLearner) -> bool:
    return sum(parameter.numel() for parameter in learner.parameters.values()) <= LARGEST


def _likeness(learner: LocalLearner, kept: Kept, subject: Subject, load: Load) -> Generator[None, None, Likeness]:
    """The update beside the round done again on the member's samples and on others."""
    own = yield from moved(learner, kept.start, subject.own, load)
    control = yield from moved(learner, kept.start, subject.control, load)
    return likeness(kept.sent, own, control)


def moved(
    learner: LocalLearner, start: Start, positions: Sequence[Range], load: Load
) -> Generator[None, None, dict[str, Floats]]:
    """How far θ moves from the start on those samples, by tensor."""
    with learner.aside():
        twin = learner.twin(start)
        here = twin.place()
    for samples in _batches(learner, positions, load):
        yield  # before, not behind: a last batch that is not full waits for its step in gradients that both share
        with learner.aside():
            twin.put(here)
            for part in samples.split(learner.gradients.micro_batch):
                twin.learn(part)
            here = twin.place()
    with learner.aside():
        twin.put(here)
        return {name: values.numpy() for name, values in twin.update(0).tensors.items()}


def gains(
    learner: LocalLearner, kept: Kept, positions: Sequence[Range], load: Load
) -> Generator[None, None, list[float]]:
    """By how much the update lowers the loss of each batch of those samples, nats per sample."""
    before = {name: kept.start.theta(name) for name in learner.parameters}
    after = {name: values - torch.from_numpy(kept.sent[name]) for name, values in before.items()}
    found = []
    for samples in _batches(learner, positions, load):
        with learner.aside():
            losses = [_loss(learner, values, samples) for values in (before, after)]
        found.append((losses[0] - losses[1]) / len(samples))
        yield
    return found


def _loss(learner: LocalLearner, values: dict[str, Tensor], samples: Samples) -> float:
    learner.put(values)
    return sum(learner.gradients.loss(part) for part in samples.split(learner.gradients.micro_batch))


def _batches(learner: LocalLearner, positions: Sequence[Range], load: Load) -> Iterator[Samples]:
    """The samples of each inner step; of no more steps than a round has."""
    local = learner.spec.local
    for batch in islice(batches(positions, local.batch_size), local.steps):
        yield Samples.cat([load(part) for part in batch])


def batches(positions: Sequence[Range], size: int) -> Iterator[list[Range]]:
    """The positions in their order, `size` at once."""
    batch: list[Range] = []
    for part in positions:
        left = part
        while left:
            taken = Range(left.start, min(left.stop, left.start + size - total(batch)))
            batch, left = [*batch, taken], Range(taken.stop, left.stop)
            if total(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch
