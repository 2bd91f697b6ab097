"""How fast this machine trains a run, tried with values that mean nothing: samples per second, and a round's end."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import torch
from torch import nn

from peer.assembly import any_samples, tried
from peer.checkpoint import state_digest, state_metadata, write_state
from peer.codecs import codec_of, encode
from peer.device import Placement, hardware, place
from peer.exchange.average import Average, merged
from peer.exchange.average import measure as digest_of
from peer.exchange.base import Applied, Update
from peer.gradients import Gradients
from peer.learner import Learner
from peer.merge import Contribution
from peer.model import trainable
from peer.modes import first_state, learner_of
from peer.sizing import Pace, Sizes
from swarm.errors import UsageError
from swarm.runspec import RunSpec
from swarm.units import size

T = TypeVar("T")

_SECONDS = 3.0  # of training
_SPARE = 0.8  # of the free memory may be used
_SAY = "Say it with --speed SAMPLES_PER_SECOND instead: that of a volunteer's machine."


def measure(spec: RunSpec, sizes: Sizes, build: Callable[[], nn.Module]) -> Pace:
    """Of the model that `build` makes on the CPU. Raises UsageError where the run does not fit this machine."""
    try:
        placement = place(spec, "auto", hardware())
    except UsageError as error:
        raise UsageError(f"How fast a peer is cannot be measured here: {error.what}", _SAY) from error
    _require_memory(sizes, placement)
    return measured(spec, build().to(placement.device), placement)


def measured(spec: RunSpec, model: nn.Module, placement: Placement) -> Pace:
    """Of a model that lies on its device."""
    learner = begun(spec, model, placement)
    trial = tried(learner.gradients, spec, placement)
    learner.gradients.micro_batch = trial.micro_batch
    if placement.half:
        _settle_scale(learner.gradients, spec)
    samples, rate = _train(learner)
    settle, merge = _end_round(learner, samples)
    why = f"measured on this machine ({placement.name}), {trial.micro_batch} samples at once"
    return Pace(rate, trial.micro_batch, settle, merge, why)


def _require_memory(sizes: Sizes, placement: Placement) -> None:
    wanted = 16 * sizes.trained + 2 * sizes.base  # θ, gradient and two moments; a frozen base in fp32
    free = psutil.virtual_memory().available
    if placement.device.type == "cuda":
        free = torch.cuda.mem_get_info(placement.device)[0]
    if wanted > _SPARE * free:
        what = (
            f"How fast a peer is cannot be measured here: that takes {size(wanted)} of memory, {size(free)} are free."
        )
        raise UsageError(what, _SAY)


def begun(spec: RunSpec, model: nn.Module, placement: Placement) -> Learner:
    """In round 0, at the values that the model on its device has."""
    parameters = trainable(model)
    targets, most = float(spec.data.sequence_length), spec.training.micro_batch_size
    gradients = Gradients(model, parameters, placement, targets, most, lambda _: None)
    learner = learner_of(spec, parameters, gradients)
    values = {name: parameter.detach().cpu().float() for name, parameter in parameters.items()}
    state = first_state(spec, values)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        write_state(path, state, state_metadata(spec.run.name, 0, 0, state_digest(state)))
        learner.load(path)
    return learner


def _settle_scale(gradients: Gradients, spec: RunSpec) -> None:
    """Half precision computes again at each overflow until it has its scale: often at first, then hardly ever."""
    gradients.add(any_samples(gradients.micro_batch, spec))
    gradients.begin()


def _train(learner: Learner) -> tuple[int, float]:
    """Samples that are in the round now, and those per second of computing: for some seconds, or all inner steps."""
    samples, began = 0, time.perf_counter()
    while (room := learner.room()) and time.perf_counter() - began < _SECONDS:
        learner.learn(any_samples(room, learner.spec))
        samples += room
    return samples, samples / (time.perf_counter() - began)


def _end_round(learner: Learner, samples: int) -> tuple[float, float]:
    """Seconds from the last batch to the next round without the exchange, and for one more member's update."""
    update, before = _timed(lambda: learner.update(samples))
    average, alone, more = _averaged(learner.spec, update)
    result = Applied(average.mean, average.norm, samples, 1, taken=average.taken, lost=average.lost)
    _, after = _timed(lambda: learner.apply(result))
    return before + alone + after, more


def _averaged(spec: RunSpec, update: Update) -> tuple[Average, float, float]:
    """What comes of this update alone, in how many seconds; and how many a second one adds."""
    if spec.training.mode == "gradient":
        return *_timed(lambda: digest_of(update.tensors)), 0.0
    codec, shapes = codec_of(spec.local, update.device), {name: tuple(t.shape) for name, t in update.tensors.items()}

    def merge(*signs: int) -> Average:
        payloads = [encode(codec, {name: sign * t.numpy() for name, t in update.tensors.items()}) for sign in signs]
        found = [Contribution(update.samples, payload) for payload in payloads]
        return merged(codec, found, shapes, spec.local.clip, payloads[0])

    average, alone = _timed(lambda: merge(1))
    _, both = _timed(lambda: merge(1, -1))
    return average, alone, max(0.0, both - alone)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began
