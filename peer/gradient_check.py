"""Another member's gradient, made again by a checker in small steps between which its own rounds go on.

Only parts of it reach the checker: those that it averages itself, and with the clipped mean one that it computes again
to check a reducer (`peer.exchange.clipped`). So those are compared, at the values that travelled.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from peer.codecs import Floats
from peer.data import Samples
from peer.exchange.base import Seen
from peer.exchange.butterfly import flat
from peer.exchange.parts import decoded, encoded
from peer.learner import GradientLearner
from peer.recomputation import Load, Steps, Subject, batches, unfit_for
from peer.spotcheck import near, nearness
from swarm.ranges import Range, total


@dataclass(frozen=True)
class KeptGradient:
    """What a checker keeps of a round: θ, on the CPU, and what it saw of the member's update."""

    theta: dict[str, Tensor]
    seen: Seen

    @classmethod
    def of(cls, learner: GradientLearner, seen: Seen) -> KeptGradient:
        """Of the round that the learner is about to end."""
        theta = {name: p.detach().to("cpu", copy=True) for name, p in learner.parameters.items()}
        return cls(theta, seen)


def examined(learner: GradientLearner, kept: KeptGradient, subject: Subject, load: Load) -> Steps:
    """Each step leaves the model as it was. The learner must have begun nothing in its round."""
    if unfit := unfit_for(subject, kept.seen.samples):
        return unfit
    return near((yield from looks(learner, kept, subject, load)))


def looks(
    learner: GradientLearner, kept: KeptGradient, subject: Subject, load: Load
) -> Generator[None, None, list[float | None]]:
    """How near each look at the member's gradient finds it (`peer.spotcheck.nearness`)."""
    own = yield from made(learner, kept, subject.own, load)
    control = yield from made(learner, kept, subject.control, load)
    return [
        nearness(list(look.values()), [own[place] for place in look], [control[place] for place in look])
        for look in kept.seen.looks
    ]


def made(
    learner: GradientLearner, kept: KeptGradient, positions: Sequence[Range], load: Load
) -> Generator[None, None, Mapping[Range, Floats]]:
    """The parts that were seen, as an honest member with those samples sends them, decoded."""
    gradients = learner.gradients.apart()
    for batch in batches(positions, gradients.micro_batch):
        samples = Samples.cat([load(part) for part in batch])
        with learner.aside():
            learner.put(kept.theta)
            gradients.add(samples)
        yield
    mean = {name: values.cpu() for name, values in gradients.take(total(positions)).items()}
    places = {place for look in kept.seen.looks for place in look}
    return travelled(mean, places, learner.spec.exchange.compression)


def travelled(gradient: dict[str, Tensor], places: Collection[Range], codec: str) -> dict[Range, Floats]:
    """The parts at these places after their codec, which two that hold nearly the same values lose nearly alike."""
    values = flat(gradient)
    return {place: _travelled(values[place.start : place.stop], codec) for place in places}


def _travelled(part: Tensor, codec: str) -> Floats:
    found = decoded(encoded(part, codec), part.numel(), codec)
    return part.numpy() if found is None else found
