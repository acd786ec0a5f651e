"""What validation says of an epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.judging.calibration import fit_temperature, fit_tilt
from mien.metrics import Evaluation, evaluate_probabilities, negative_log_likelihood
from mien.training.emphasis import Emphasis
from mien.training.networks import Answers

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What validation says of an epoch.

    Attributes:
        figures: of the answers; those of an emotion-based run have its offsets.
        loss: their mean loss, each image counted by what its emotion is worth in such a run.
        loss_of: the mean loss of each emotion; None where it has no image.
        nll: the mean loss of calibrated answers, each image counted once.
        logits: as the network gives them.
        temperature: divides them.
        offsets: are added then; none where the run is not emotion-based.
        tilt: what the loss has added to the divided logits; none where that is nothing, or where
            offsets take it out.
        untilted: the temperature that divides them where the tilt is taken out.
    """

    figures: Evaluation
    loss: float
    loss_of: Mapping[str, float | None]
    nll: float
    logits: Tensor
    temperature: float
    offsets: tuple[float, ...]
    tilt: tuple[float, ...]
    untilted: float | None


def judge(
    logits: Tensor,
    labels: NDArray[np.int64],
    emotions: Sequence[str],
    added: Tensor,
    emphasis: Emphasis | None,
) -> Judgement:
    """Judge answers to validation images.

    Args:
        logits: (n, k), finite, on the CPU.
        labels: (n,), the index of each image's emotion.
        emotions: the k that the network knows.
        added: (k,), what the loss adds to logits where rare emotions count more.
        emphasis: of an emotion-based run; None: it is none.
    """
    worth: NDArray[np.float64] = np.ones(len(emotions))
    offsets: tuple[float, ...] = ()
    tilt: tuple[float, ...] = ()
    untilted = None
    if emphasis is None:
        temperature = fit_temperature(logits.numpy(), labels)
        steps = added.double().numpy()
        if np.ptp(steps) > 0:
            part, untilted = fit_tilt(logits.numpy(), labels, steps)
            tilt = tuple((part * steps).tolist())
    else:
        worth = emphasis.worth
        temperature, offsets = emphasis.decide(logits.numpy(), labels)
    decided = Answers(nn.Identity(), temperature=temperature, offsets=offsets)(logits).numpy()
    found = logits.softmax(dim=1).numpy() if emphasis is None else decided
    loss_of = {
        emotion: negative_log_likelihood(found[of], labels[of]) if of.any() else None
        for i, emotion in enumerate(emotions)
        for of in [labels == i]
    }
    counted = worth * np.bincount(labels, minlength=len(worth))
    lost = np.array([loss or 0.0 for loss in loss_of.values()])
    return Judgement(
        figures=evaluate_probabilities(found, labels, emotions),
        loss=float(counted @ lost / counted.sum()),
        loss_of=loss_of,
        nll=negative_log_likelihood(decided, labels),
        logits=logits,
        temperature=temperature,
        offsets=offsets,
        tilt=tilt,
        untilted=untilted,
    )
