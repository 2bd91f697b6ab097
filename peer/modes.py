"""What differs between gradient and local mode, in one place: the learner and its first state. When a round closes
is in `peer.exchange.closing`.
"""

from __future__ import annotations

from torch import Tensor, nn

from peer.alternation import Alternation
from peer.gradients import Gradients
from peer.learner import GradientLearner, Learner
from peer.local_mode import LocalLearner
from peer.optimizer import AdamW
from peer.outer import Outer
from swarm.runspec import RunSpec

_ROUNDS = 1000  # that may fail one after the other


def learner_of(spec: RunSpec, parameters: dict[str, nn.Parameter], gradients: Gradients) -> Learner:
    """The run's kind of learner; its state means nothing before `load`."""
    kind = LocalLearner if spec.training.mode == "local" else GradientLearner
    return kind(spec, parameters, gradients)


def first_state(spec: RunSpec, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The agreed state before the first round, with what is trained at `values`."""
    model = {f"model/{name}": value for name, value in values.items()}
    if spec.training.mode == "local":
        outer = Outer(spec.local, {name: tuple(value.shape) for name, value in values.items()})
        return model | outer.state() | Alternation(values).state()
    return model | AdamW({name: nn.Parameter(value) for name, value in values.items()}, spec.training).state()


def most_samples(spec: RunSpec) -> int:
    """Of how many samples a member's update may be, also where nobody shows leases. This is more than any honest member
    makes: everybody goes on while rounds cannot end, so it is what a thousand of them take, by one member in
    local mode, by the whole swarm in gradient mode. What a large count can do is bounded by `peer.combine.weights`.
    """
    if spec.training.mode == "local":
        return _ROUNDS * spec.local.steps * spec.local.batch_size
    return _ROUNDS * spec.training.target_batch_size
