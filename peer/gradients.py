"""The gradients of a round's samples: mixed precision, and memory that may run out at any time.

A micro-batch counts whole or not at all: its gradients are added when all of them are there. So neither running out of
memory in the middle of it nor an overflow in half precision spoils what was accumulated before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from peer.data import Samples
from peer.device import Placement
from peer.finite import all_finite
from peer.memory import out_of_memory, release, trim
from peer.model import loss_sum
from swarm.errors import ModelError

_FIRST_SCALE = 2.0**16  # as torch.amp.GradScaler begins
_LEAST_SCALE = 2.0**-14  # below 1, because losses are summed: thousands of samples that are alike add up
_GROW_AFTER = 2000  # micro-batches without an overflow

Say = Callable[[str], None]


class Gradients:
    """Sums of gradients of `parameters`, fp32, on the device of the model.

    `model` may be a compiled one. `micro_batch` is how many samples are computed at once; it only ever shrinks by
    itself, and `say` is told then.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: dict[str, nn.Parameter],
        placement: Placement,
        targets_per_sample: float,
        micro_batch: int,
        say: Say,
    ) -> None:
        self.micro_batch = micro_batch
        self._targets = targets_per_sample
        self._model = model
        self._parameters = parameters
        self.placement = placement
        self._say = say
        self._sums: dict[str, Tensor] = {}
        self._scale = _FIRST_SCALE if placement.half else 1.0
        self._without_overflow = 0

    def apart(self) -> Gradients:
        """Others of the same parameters, with sums of their own."""
        return Gradients(self._model, self._parameters, self.placement, self._targets, self.micro_batch, self._say)

    def add(self, samples: Samples) -> float:
        """Add the gradients of samples, `micro_batch` of them at once; the sum of their losses.

        Raises ModelError when not even one fits into memory, or none stays finite.
        """
        total, done = 0.0, 0
        while done < len(samples):
            part = samples[done : done + self.micro_batch]
            loss = self._add_or_halve(part)
            if loss is not None:
                total, done = total + loss, done + len(part)
        return total

    @torch.no_grad()
    def loss(self, samples: Samples) -> float:
        """The sum of the losses of samples that fit at once; nothing is added."""
        with self.placement.autocast():
            return float(loss_sum(self._model, samples.to(self.placement.device), self._targets))

    def mean(self, samples: int) -> dict[str, Tensor]:
        """What was added over `samples`, fp32, on the model's device; zeros without samples."""
        scale = 1.0 / max(samples, 1)
        return {
            name: self._sums[name] * scale if name in self._sums else torch.zeros_like(p, requires_grad=False)
            for name, p in self._parameters.items()
        }

    def take(self, samples: int) -> dict[str, Tensor]:
        """The same as `mean`, and begin anew. In the memory of the sums: a mean beside them needs as much again."""
        scale = 1.0 / max(samples, 1)
        taken, self._sums = self._sums, {}
        return {
            name: taken[name].mul_(scale) if name in taken else torch.zeros_like(p, requires_grad=False)
            for name, p in self._parameters.items()
        }

    def begin(self) -> None:
        """Forget what was added."""
        self._sums = {}

    def forget(self) -> None:
        """Begin anew at the end of a round, and give back the memory that the round left behind."""
        self.begin()
        trim()

    def rehearse(self, samples: Samples) -> None:
        """Compute as `add` does in the middle of a round, beside the sums of what came before, and keep nothing.

        Raises MemoryError when it does not fit.
        """
        try:
            self._sums = self.mean(0)
            self._compute(samples)
            synchronize(self.placement.device)
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise MemoryError from None
        finally:
            self.begin()

    def _add_or_halve(self, samples: Samples) -> float | None:
        """The loss; None when memory ran out and the micro-batch was halved."""
        try:
            return self._add(samples)
        except Exception as error:
            if not out_of_memory(error):
                raise
        # Here, behind the handler, nothing holds the failed computation's tensors any more.
        if len(samples) == 1:
            raise too_large(self.placement)
        self.micro_batch = (len(samples) + 1) // 2
        release(self.placement.device)
        self._say(f"memory ran out with {len(samples)} samples at once; going on with {self.micro_batch}")
        return None

    def _add(self, samples: Samples) -> float:
        loss, found = self._compute(samples)
        while self.placement.half and bool(loss.isfinite()) and not all_finite(found):
            self._shrink_scale()
            loss, found = self._compute(samples)
        with torch.no_grad():
            for name, gradient in zip(self._parameters, _apart(found), strict=True):
                self._keep(name, gradient.float().div_(self._scale) if self.placement.half else gradient.float())
        self._grow_scale()
        return float(loss)

    def _compute(self, samples: Samples) -> tuple[Tensor, tuple[Tensor, ...]]:
        with self.placement.autocast():
            loss = loss_sum(self._model, samples.to(self.placement.device), self._targets)
        parameters = list(self._parameters.values())
        found = torch.autograd.grad(loss * self._scale if self.placement.half else loss, parameters)
        return loss.detach(), found

    def _keep(self, name: str, gradient: Tensor) -> None:
        if name in self._sums:
            self._sums[name].add_(gradient)
        else:
            self._sums[name] = gradient

    def _shrink_scale(self) -> None:
        self._without_overflow = 0
        self._scale /= 2
        if self._scale < _LEAST_SCALE:
            raise ModelError(
                "The gradients overflow in half precision however they are scaled.",
                'Set training.precision = "bf16" or "fp32", or a lower training.learning_rate.',
            )

    def _grow_scale(self) -> None:
        self._without_overflow += 1
        if self.placement.half and self._without_overflow >= _GROW_AFTER:
            self._without_overflow = 0
            self._scale = min(2 * self._scale, _FIRST_SCALE)


def _apart(found: Iterable[Tensor]) -> list[Tensor]:
    """Each in memory of its own, to be changed in place: of a + b autograd gives one tensor for both, of a sum one
    number for all elements. All at once, before the first is changed.
    """
    seen: set[int] = set()
    apart = []
    for gradient in found:
        shared = gradient.data_ptr() in seen or 0 in gradient.stride()
        seen.add(gradient.data_ptr())
        apart.append(gradient.clone(memory_format=torch.contiguous_format) if shared else gradient)
    return apart


def too_large(placement: Placement) -> ModelError:
    """Not even one sample can be computed."""
    return ModelError(
        f"One sample of this run does not fit into the memory of this machine ({placement.device}).",
        "Close other programs that use it, or choose another --device; the maintainer could set "
        'training.gradient_checkpointing, a shorter data.sequence_length or model.method = "qlora".',
    )


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
