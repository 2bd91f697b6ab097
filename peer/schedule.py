"""The learning rate as a pure function of the samples that the whole swarm has seen."""

from __future__ import annotations

import math

from swarm.sections import Training


def learning_rate(training: Training, global_samples: int) -> float:
    """The rate of the round that begins after `global_samples` samples of the swarm.

    The schedule is read where the round is expected to end (`target_batch_size` samples later): so the first round of
    a warm-up already learns; the last planned one, and any later one, has min_lr_ratio of the peak.
    """
    seen = global_samples + training.target_batch_size
    if seen < training.warmup_samples:
        return training.learning_rate * seen / training.warmup_samples
    return training.learning_rate * _decay(training, seen)


def _decay(training: Training, seen: int) -> float:
    """Part of the peak, from 1 at the end of the warm-up to min_lr_ratio at the end of the run."""
    total = training.rounds * training.target_batch_size
    progress = min(1.0, (seen - training.warmup_samples) / (total - training.warmup_samples))
    low = training.min_lr_ratio
    match training.schedule:
        case "constant":
            return 1.0
        case "linear":
            return low + (1.0 - low) * (1.0 - progress)
        case "cosine":
            return low + (1.0 - low) * 0.5 * (1.0 + _cos_pi(progress))


def _cos_pi(progress: float) -> float:
    """cos(π·progress), rounded: the last bits of libm's cos differ between platforms, and rates must not."""
    return round(math.cos(math.pi * progress), 12)
