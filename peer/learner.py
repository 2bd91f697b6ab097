"""What one peer knows: θ, the optimizer's state, and how far the run is.

One learner per mode: gradients of a round's samples (here), or steps of its own between two exchanges
(`peer/local_mode.py`).
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from peer.checkpoint import fitting, read_state, state_digest, state_metadata, write_state
from peer.data import Samples
from peer.exchange.base import Applied, Update
from peer.finite import all_finite
from peer.gradients import Gradients
from peer.optimizer import AdamW
from peer.schedule import learning_rate
from swarm.errors import CorruptError
from swarm.runspec import RunSpec
from swarm.tensorfile import read_header

_KEPT_SNAPSHOTS = 2


class Learner(ABC):
    """Holds the agreed state of a round, trains from it, and takes over what the swarm makes of the updates.

    The agreed state changes under `lock` only, so that another thread may write a snapshot of it.
    """

    def __init__(self, spec: RunSpec, parameters: dict[str, nn.Parameter], gradients: Gradients) -> None:
        self.spec = spec
        self.parameters = parameters
        self.gradients = gradients
        self.round = 0
        self.global_samples = 0
        self.digest = ""
        self.sound = True  # all numbers of the agreed state are finite
        self.altered = False  # it was found to have changed in memory
        self.digest_seconds = 0.0  # that its digest took
        self.digested_at = 0.0  # monotonic
        self.lock = threading.Lock()

    @abstractmethod
    def room(self) -> int:
        """How many samples it takes at once now; 0 when it has done all that it may do in this round."""

    @abstractmethod
    def suffices(self, samples: int) -> bool:
        """Whether a round needs no more samples than these of the whole swarm."""

    @abstractmethod
    def learn(self, samples: Samples) -> float:
        """Train on at most `room()` samples; the sum of their losses. Raises ModelError."""

    @abstractmethod
    def update(self, samples: int) -> Update:
        """What this peer adds to the round after `samples` samples."""

    @abstractmethod
    def recall(self) -> None:
        """The update that departed did not make a round: it and what was learned since then are one again."""

    @abstractmethod
    def discard(self) -> None:
        """Forget all that is this peer's own: what it learned since the agreed state, and how."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All agreed tensors by their names in a state file."""

    @abstractmethod
    def _step(self, result: Applied) -> None:
        """Take the round's step: the same arithmetic at every peer."""

    @abstractmethod
    def _adopt(self, tensors: dict[str, Tensor]) -> None:
        """Go on from the state of a file. Raises CorruptError when it does not fit."""

    def apply(self, result: Applied) -> None:
        """θ_round → θ_(round+1) by what the swarm agreed on."""
        with self.lock:
            self._step(result)
            self.round += 1
            self.global_samples += result.samples
            self.digest = self._digest()
            self.sound = all_finite(self.state().values())

    def intact(self) -> bool:
        """Whether the agreed state in memory is the one that was made or loaded; one without a digest is."""
        with self.lock:
            return self._is_same()

    def _is_same(self) -> bool:
        self.altered = bool(self.digest) and self._digest() != self.digest
        return not self.altered

    def _digest(self) -> str:
        started = time.monotonic()
        digest = state_digest(self.state())
        self.digested_at = time.monotonic()
        self.digest_seconds = self.digested_at - started
        return digest

    def load(self, path: Path) -> None:
        """Take over the state of a file. Raises CorruptError when it is torn or belongs to another model."""
        tensors, metadata = read_state(path)
        with self.lock:
            self._adopt(tensors)
            self.round = int(metadata["round"])
            self.global_samples = int(metadata["global_samples"])
            self.digest = metadata["digest"]
            self.altered = False
            self.sound = all_finite(tensors.values())

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Meanwhile the model is at the agreed θ, whatever this peer has learned on top of it."""
        yield

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Meanwhile the model may be at any θ."""
        own = self.place()
        try:
            yield
        finally:
            self.put(own)

    def place(self) -> dict[str, Tensor]:
        """A copy of what the model is at."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def put(self, values: dict[str, Tensor]) -> None:
        """Have the model at these values."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def snapshot(self, folder: Path, at_least: int = 0) -> tuple[Path, int, str] | None:
        """Write the agreed state to `folder`, once per round: (file, round, digest). Safe from any thread.

        None when it is of an earlier round than `at_least`, or cannot be trusted: its numbers are not finite, or not
        those that they were.
        """
        with self.lock:
            if self.round < at_least or not self.sound:
                return None
            path = folder / f"round-{self.round}.safetensors"
            if not _holds(path, self.digest):
                if not self._is_same():
                    return None
                metadata = state_metadata(self.spec.run.name, self.round, self.global_samples, self.digest)
                write_state(path, self.state(), metadata)
                _keep_newest(folder)
            return path, self.round, self.digest


class GradientLearner(Learner):
    """Gradient mode: exactly large-batch training with AdamW."""

    def __init__(self, spec: RunSpec, parameters: dict[str, nn.Parameter], gradients: Gradients) -> None:
        super().__init__(spec, parameters, gradients)
        self.optimizer = AdamW(parameters, spec.training)

    def room(self) -> int:
        return self.gradients.micro_batch

    def suffices(self, samples: int) -> bool:
        return samples >= self.spec.training.target_batch_size

    def learn(self, samples: Samples) -> float:
        return self.gradients.add(samples)

    def update(self, samples: int) -> Update:
        mean = {name: gradient.cpu() for name, gradient in self.gradients.mean(samples).items()}
        return Update(self.round, self.digest, samples, mean)

    def recall(self) -> None:
        """The sums still hold everything."""

    def discard(self) -> None:
        self.gradients.forget()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The model holds the agreed θ itself, so nobody may look at it meanwhile."""
        with self.lock, super().aside():
            yield

    def state(self) -> dict[str, Tensor]:
        model = {f"model/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        return {**model, **self.optimizer.state()}

    def _step(self, result: Applied) -> None:
        clip = self.spec.training.clip_norm
        scale = clip / result.norm if 0 < clip < result.norm else 1.0
        rate = learning_rate(self.spec.training, self.global_samples)
        self.optimizer.step(result.mean, self.round + 1, rate, scale)
        self.gradients.forget()

    @torch.no_grad()
    def _adopt(self, tensors: dict[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(fitting(tensors, f"model/{name}", parameter))
        self.optimizer.load(tensors)
        self.gradients.forget()


def _holds(path: Path, digest: str) -> bool:
    """Whether the file is there, whole, and of this state: an earlier process may have left one that was torn, or that
    is of a round which was undone.
    """
    try:
        return read_header(path).metadata.get("digest") == digest
    except (FileNotFoundError, CorruptError):
        return False


def _keep_newest(folder: Path) -> None:
    by_age = sorted(folder.glob("round-*.safetensors"), key=lambda path: path.stat().st_mtime)
    for old in by_age[:-_KEPT_SNAPSHOTS]:
        old.unlink()
