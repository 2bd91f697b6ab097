"""Putting a peer's learner together: device, model, the compiled form, and the micro-batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import nn

from peer.data import Samples
from peer.device import Placement, use_threads
from peer.gradients import Gradients, too_large
from peer.learner import Learner
from peer.memory import trim
from peer.model import trainable
from peer.modes import learner_of
from peer.setup import Setup
from peer.trained import trained_model
from peer.trial import Trial, find_micro_batch
from swarm.runspec import RunSpec

Say = Callable[[str], None]


def assemble(setup: Setup, placement: Placement, say: Say) -> tuple[Learner, nn.Module, float]:
    """The learner, at the state of the run's checkpoint, its model, and its samples per second as tried.

    Raises ModelError, CorruptError.
    """
    use_threads(setup.threads)
    spec = setup.spec
    model = trained_model(spec, Path(setup.model_folder), placement)
    parameters = trainable(model)
    targets, most = setup.layout["targets_per_sample"], spec.training.micro_batch_size

    def of(forward: nn.Module) -> Gradients:
        return Gradients(forward, parameters, placement, targets, most, say)

    gradients = compiled(model, of, spec, say) if setup.compiled else of(model)
    learner = learner_of(spec, parameters, gradients)
    learner.load(Path(setup.checkpoint))
    trial = tried(gradients, spec, placement)
    gradients.micro_batch = trial.micro_batch
    say(trial.why)
    return learner, model, trial.rate


def tried(gradients: Gradients, spec: RunSpec, placement: Placement) -> Trial:
    try:
        return find_micro_batch(
            lambda size: gradients.rehearse(any_samples(size, spec)), spec.training.micro_batch_size
        )
    except MemoryError:
        raise too_large(placement) from None
    finally:
        trim()


def any_samples(count: int, spec: RunSpec) -> Samples:
    """Samples of the full length; which tokens they hold does not matter for time and memory."""
    tokens = torch.zeros(count, spec.data.sequence_length + 1, dtype=torch.long)
    return Samples(tokens, torch.ones_like(tokens, dtype=torch.int16) if spec.data.whole else None)


def compiled(model: nn.Module, of: Callable[[nn.Module], Gradients], spec: RunSpec, say: Say) -> Gradients:
    """With the model compiled, or as it is when this machine cannot compute a gradient with the compiled one."""
    gradients = of(cast(nn.Module, torch.compile(model)))
    say("compiling the model; this takes a minute or more")
    try:
        gradients.rehearse(any_samples(1, spec))
    except MemoryError:
        say("the compiled model does not fit into memory; training without torch.compile")
    except RuntimeError as error:
        why = str(error).strip().partition("\n")[0]
        say(f"torch.compile does not work here; training without it: {why}")
    else:
        return gradients
    return of(model)
