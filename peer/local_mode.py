"""Local mode: many steps of its own between two exchanges.

DiLoCo (Douillard et al. 2023, arXiv 2311.08105) with sparse updates and error feedback (Sarfi et al. 2025, arXiv
2508.15706): Δ = θ_r − θ_local; e ← β·e + Δ; what the codec keeps of e travels, the rest waits in e for the next round.
θ_r lies in the host's memory, the model on its device holds θ_local.

With `local.overlap` a peer trains on while its update travels. When θ_(r+1) is there, θ_local moves by what θ_(r+1) is
away from the θ_local that departed: the steps since then stay and are the next round's, though their gradients are one
round old (of the family of Kale et al. 2025, "Eager Updates For Overlapped Communication and Computation in DiLoCo",
arXiv 2502.12996).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from peer.alternation import Alternation
from peer.checkpoint import fitting
from peer.codecs import Floats, codec_of
from peer.data import Samples
from peer.exchange.base import Applied, Update
from peer.gradients import Gradients
from peer.learner import Learner
from peer.optimizer import AdamW
from peer.outer import Outer
from peer.schedule import learning_rate
from swarm.runspec import RunSpec

_THETA = "model/"


@dataclass(frozen=True)
class Start:
    """What a peer's steps in a round begin with: the agreed state, on the CPU, and the inner optimizer's moments."""

    round: int
    global_samples: int
    inner_steps: int  # since the moments were zero
    tensors: dict[str, Tensor]

    def theta(self, name: str) -> Tensor:
        """The parameter of that name."""
        return self.tensors[f"{_THETA}{name}"]


class LocalLearner(Learner):
    """See `peer.learner.Learner`. The inner optimizer's moments are this peer's own: they stay when θ changes, until
    they are discarded.
    """

    def __init__(self, spec: RunSpec, parameters: dict[str, nn.Parameter], gradients: Gradients) -> None:
        super().__init__(spec, parameters, gradients)
        self._dtype = codec_of(spec.local).dtype
        self._device = str(next(iter(parameters.values())).device)
        self._inner = AdamW(parameters, spec.training)
        self._inner_steps = 0  # since the moments were zero
        self._theta = {name: _host(parameter) for name, parameter in parameters.items()}
        self._outer = Outer(spec.local, {name: values.shape for name, values in self._theta.items()})
        self._alternation = Alternation(parameters)
        self._waiting: dict[str, Floats] = {}  # e: what did not travel yet
        self._sent: dict[str, Floats] = {}  # of this round, before the codec
        self._departed: dict[str, NDArray[np.float32]] = {}  # θ_local when the update that travels was made
        self._departed_steps = 0
        self._steps = 0  # in this round, since the update departed
        self._pending = 0  # samples of the inner step that is not complete

    def room(self) -> int:
        local = self.spec.local
        return min(self.gradients.micro_batch, local.batch_size - self._pending) if self._steps < local.steps else 0

    def suffices(self, _samples: int) -> bool:
        """Everybody does its steps."""
        return False

    def learn(self, samples: Samples) -> float:
        loss = self.gradients.add(samples)
        self._pending += len(samples)
        if self._pending >= self.spec.local.batch_size:
            self._inner_step()
        return loss

    def update(self, samples: int) -> Update:
        if self._pending:
            self._inner_step()  # the round ends in the middle of it
        local = self._local()
        self._sent = self._wanted(local)
        if self.spec.local.overlap:
            self._departed = local
            self._departed_steps, self._steps = self._steps, 0
        tensors = {name: torch.from_numpy(values) for name, values in self._sent.items()}
        return Update(self.round, self.digest, samples, tensors, self._device)

    def recall(self) -> None:
        self._steps += self._departed_steps
        self._departed, self._departed_steps = {}, 0

    def discard(self) -> None:
        self._inner, self._inner_steps = AdamW(self.parameters, self.spec.training), 0
        self._waiting, self._sent, self._departed, self._departed_steps = {}, {}, {}, 0
        self._begin()

    @contextmanager
    def agreed(self) -> Iterator[None]:
        with self.aside():
            self.put({name: torch.from_numpy(values) for name, values in self._theta.items()})
            yield

    def start(self) -> Start:
        """Where this round began, with the inner moments of this peer as they are now."""
        tensors = {name: values.detach().clone() for name, values in {**self.state(), **self._inner.state()}.items()}
        return Start(self.round, self.global_samples, self._inner_steps, tensors)

    def twin(self, start: Start) -> LocalLearner:
        """Another learner at that start, on the same model, which it puts there."""
        twin = LocalLearner(self.spec, self.parameters, self.gradients)
        twin._adopt(start.tensors)
        twin._inner.load(start.tensors)
        twin.round, twin.global_samples, twin._inner_steps = start.round, start.global_samples, start.inner_steps
        return twin

    def state(self) -> dict[str, Tensor]:
        theta = {f"{_THETA}{name}": torch.from_numpy(values) for name, values in self._theta.items()}
        return {**theta, **self._outer.state(), **self._alternation.state()}

    def _inner_step(self) -> None:
        training = self.spec.training
        resting = self._alternation.resting(self.round)
        mean = {name: mean for name, mean in self.gradients.take(self._pending).items() if name not in resting}
        norm = _norm(mean.values())
        scale = training.clip_norm / norm if 0 < training.clip_norm < norm else 1.0
        self._inner_steps += 1
        self._inner.step(mean, self._inner_steps, learning_rate(training, self.global_samples), scale)
        self._steps += 1
        self._pending = 0

    def _local(self) -> dict[str, NDArray[np.float32]]:
        return {name: _host(parameter) for name, parameter in self.parameters.items()}

    def _wanted(self, local: dict[str, NDArray[np.float32]]) -> dict[str, Floats]:
        """β·e + Δ: what should travel."""
        wanted = {name: self._delta(name, values) for name, values in local.items()}
        for name, waiting in self._waiting.items():
            wanted[name] += waiting * self._dtype(self.spec.local.feedback)
        return wanted

    def _delta(self, name: str, local: NDArray[np.float32]) -> Floats:
        delta: Floats = (self._theta[name] - local.astype(np.float64)).astype(self._dtype)
        return delta

    def _step(self, result: Applied) -> None:
        self._alternation.look(self._theta, {name: mean.numpy() for name, mean in result.mean.items()}, result.lost)
        for name, mean in result.mean.items():
            self._theta[name] = self._outer.step(name, self._theta[name], mean.numpy())
        if self.spec.local.feedback:
            taken = {name: values.numpy() for name, values in result.taken.items()}
            self._waiting = {name: sent - taken.get(name, 0) for name, sent in self._sent.items()}
        if self._departed and (self._steps or self._pending):
            self._move_on()
        else:
            self._begin()
        self._sent, self._departed, self._departed_steps = {}, {}, 0

    def _adopt(self, tensors: dict[str, Tensor]) -> None:
        trained = self._steps or self._departed_steps
        if trained and self.spec.local.feedback:
            self._waiting = self._wanted(self._local())  # too late for its round: it goes into the next one
        for name, parameter in self.parameters.items():
            self._theta[name] = fitting(tensors, f"{_THETA}{name}", parameter).numpy().copy()
        self._outer.load(tensors)
        self._alternation.load(tensors)
        self._begin()
        self._sent, self._departed, self._departed_steps = {}, {}, 0

    def _begin(self) -> None:
        """Train on from θ_r."""
        self.put({name: torch.from_numpy(values) for name, values in self._theta.items()})
        self._steps, self._pending = 0, 0
        self.gradients.forget()

    @torch.no_grad()
    def _move_on(self) -> None:
        """Keep the steps taken since the update departed, now from θ_r on."""
        for name, parameter in self.parameters.items():
            moved = torch.from_numpy(self._theta[name] - self._departed[name])
            parameter.add_(moved.to(parameter.device))


def _norm(tensors: Iterable[Tensor]) -> float:
    """The L2 norm of all of them, which lie on one device; a GPU is waited for once."""
    squares = [tensor.to(_widest(tensor.device)).square().sum() for tensor in tensors]
    return math.sqrt(sum(torch.stack(squares).tolist()))


def _widest(device: torch.device) -> torch.dtype:
    """In which sums are made: MPS has no fp64."""
    return torch.float32 if device.type == "mps" else torch.float64


def _host(parameter: nn.Parameter) -> NDArray[np.float32]:
    """A copy in the host's memory."""
    values: NDArray[np.float32] = parameter.detach().to("cpu", torch.float32, copy=True).numpy()
    return values
