"""Several models on the same images, with paired tests. No torch of its own.

Every model answers over the eight emotions; one that it does not know gets probability 0. Two
views of the same answers:

- all: every image counts. Whoever lacks an emotion is wrong on each of its faces.
- shared: only images of emotions that every model knows; each model's probabilities are scaled to
  sum to 1 over these.

An image in which a peer finds no face counts as wrong in accuracy and macro recall; the figures of
probability (NLL, Brier, calibration error) leave it out.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.atomic import write_text
from mien.card import ModelCard
from mien.data.dataset import Dataset
from mien.errors import DataError, DatasetError, MienError, UsageError
from mien.judging.asking import Ask, answers_of
from mien.judging.caveats import caveat_of
from mien.judging.comparison_page import render_comparison
from mien.judging.peers import ask_peer
from mien.labels import EMOTIONS
from mien.metrics import (
    brier_score,
    macro_recall_of_right,
    negative_log_likelihood,
    reliability,
)
from mien.model import EmotionModel
from mien.people import (
    Who,
    chosen_by,
    number_people,
    several_of_some,
    sign_flips,
    sums_over_people,
    widened,
)
from mien.preprocess import fit
from mien.progress import Progress, silent
from mien.records import Split

__all__ = ["Contender", "compare", "paired_bootstrap", "save_comparison"]

_TIMED_FACES: Final = 200
_RESAMPLES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Contender:
    """One model's answers to the images.

    Attributes:
        name: as the table shows it.
        labels: the emotions that it knows.
        probabilities: float (n, 8) in the order of `EMOTIONS`; 0 throughout where no face was seen.
        milliseconds: a face.
        timed: how: ``median`` (one thread, one face a call), ``run`` (the same, by PyTorch), or as
            `PeerAnswers` says.
        bytes: size of its file; None where it is a command.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: NDArray[np.floating[Any]]
    milliseconds: float
    timed: str
    bytes: int | None

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether it saw a face, (n,)."""
        found: NDArray[np.bool_] = self.probabilities.sum(axis=1) > 0
        return found

    def right(self, truth: NDArray[np.int64], among: Sequence[int]) -> NDArray[np.bool_]:
        """Whether the most probable emotion of some is the label, (n,)."""
        shares = self.probabilities[:, among]
        answer = np.asarray(among)[shares.argmax(axis=1)]
        # Whoever gives none of them any weight answers with none of them.
        found: NDArray[np.bool_] = shares.any(axis=1) & (answer == truth)
        return found


def compare(
    models: Mapping[str, tuple[EmotionModel, int | None]],
    peers: Mapping[str, str],
    dataset: Dataset,
    split: Split,
    *,
    environments: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Put all usable images of a split to several models and judge them side by side.

    Args:
        models: by name: a model that computes in one thread, and the size of its file.
        peers: commands by name, see `mien.judging.peers`.
        dataset: holds the images.
        split: train, valid or test.
        environments: of so many images of shared emotions, drawn by chance, every model is also
            asked in each condition at the middle strength, see `mien.judging.robustness`; needs
            torch.
        progress: shows how far it is.

    Returns:
        Plain JSON values: n, the shared emotions, which test of an entry counts (``tested``: where
        some lack an emotion, the one that leaves it out), and one entry a model, the first being
        the one that the others are tested against; ``seeds`` has mean and standard deviation of
        those that differ by their seed alone, a group each with ``models``, ``seeds``, ``mean`` and
        ``deviation``; ``failed`` gives the reason of each peer that fails. One that could not read
        some of the images, or fails in the environments, has its other figures all the same.

    Raises:
        DatasetError: the split has no usable image.
        UsageError: no two models.
        DataError: fewer than two of them answered.
    """
    if len(models) + len(peers) < 2 or set(models) & set(peers):
        raise UsageError("compare: expected at least two models or peers, each with its own name")
    if environments:
        import mien.judging.robustness  # noqa: F401, before all the work: it needs torch
    rows = dataset.usable(split)
    if len(rows) == 0:
        raise DatasetError(f"{dataset.path}: split {split!r} has no usable image")
    truth, batches = dataset.labels(rows, EMOTIONS), dataset.batches(rows)
    times = _milliseconds({name: model for name, (model, _) in models.items()}, dataset, rows)
    asks: dict[str, Ask] = {name: partial(_ask_model, model) for name, (model, _) in models.items()}
    contenders = [
        Contender(
            name,
            model.card.labels,
            asks[name](progress(batches, total=len(batches), doing=f"asking {name}")),
            times[name],
            "run" if size is None else "median",
            size,
        )
        for name, (model, size) in models.items()
    ]
    failed: dict[str, str] = {}
    for name, command in peers.items():
        try:
            images = chain.from_iterable(batches)
            said = ask_peer(name, command, images, progress=progress)
        except MienError as error:
            failed[name] = str(error)
            continue
        if said.problem:
            failed[name] = said.problem
        if len(said.labels) < 2:
            failed.setdefault(
                name,
                f"peer {name}: named {' and '.join(said.labels) or 'no emotion'} in all of "
                f"{len(rows):,} images; expected two emotions at least",
            )
            continue
        contenders.append(
            Contender(name, said.labels, said.probabilities, said.milliseconds, said.timed, None)
        )
        asks[name] = partial(_ask_peer, name, command)
    if len(contenders) < 2:
        raise DataError("; ".join(failed.values()))
    shown, who = dataset.shown(rows)
    found = judge(contenders, truth, number_people(shown), who)
    own = [(e, models[e["name"]][0].card) for e in found["models"] if e["name"] in models]
    for entry, card in own:
        entry["caveat"] = caveat_of(card, dataset, split)
    if environments and found["n_shared"]:
        failed |= _add_environments(found, asks, dataset, rows, truth, environments, progress)
    return {
        "split": split,
        "dataset": dataset.identity,
        "failed": failed,
        **found,
        "seeds": _by_seed(own),
    }


def _by_seed(told: Sequence[tuple[Mapping[str, Any], ModelCard]]) -> list[dict[str, Any]]:
    """Return mean and deviation of models of one recipe and data that have different seeds."""
    groups: dict[str, dict[int, Mapping[str, Any]]] = {}
    for entry, card in told:
        recipe = card.training.get("recipe", {})
        if "seed" in recipe and "epochs_done" not in card.training:
            data = card.training.get("dataset", {}).get("fingerprint")
            # Of one run there may be an exact file and one of 8 bits.
            whole = entry["bytes"] is None or entry["bytes"] > 2 * card.parameters
            asked = (recipe | {"seed": None}, data, card.worth, card.views, whole)
            of = groups.setdefault(json.dumps(asked, sort_keys=True), {})
            of.setdefault(recipe["seed"], entry)
    figures = told[0][0]["all"] if told else ()
    return [
        {
            "models": [of[seed]["name"] for seed in sorted(of)],
            "seeds": sorted(of),
            **{
                name: {figure: kind(e["all"][figure] for e in of.values()) for figure in figures}
                for name, kind in (("mean", mean), ("deviation", stdev))
            },
        }
        for of in groups.values()
        if len(of) > 1
    ]


def _add_environments(
    found: dict[str, Any],
    asks: Mapping[str, Ask],
    dataset: Dataset,
    rows: NDArray[np.int64],
    truth: NDArray[np.int64],
    most: int,
    progress: Progress,
) -> dict[str, str]:
    """Judge each entry in the environments, on emotions that all of them know.

    Returns:
        The reason of each that fails.
    """
    from mien.judging.robustness import MIDDLE, judge_environments

    among = [EMOTIONS.index(emotion) for emotion in found["shared"]]
    rows = rows[np.isin(truth, among)]
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    failed: dict[str, str] = {}
    for entry in found["models"]:
        ask = asks[entry["name"]]
        try:
            entry["environments"] = judge_environments(
                lambda batches, ask=ask: _among(ask(batches), among),  # type: ignore[misc]
                dataset,
                rows,
                found["shared"],
                strengths=(MIDDLE,),
                progress=progress,
            )
        except MienError as error:
            failed[entry["name"]] = str(error)
    return failed


def judge(
    contenders: Sequence[Contender],
    truth: NDArray[np.int64],
    people: NDArray[np.int64] | None = None,
    who: Who = "person",
) -> dict[str, Any]:
    """Compute every figure of `compare` from answers; truth is int (n,), 0..7.

    ``people`` says who is shown, see `mien.people.number_people`; None: someone else every time;
    ``who``, whether it tells persons or only videos.
    """
    if people is None:
        people = np.arange(len(truth))
    common = [e for e in EMOTIONS if all(e in c.labels for c in contenders)]
    if len(common) < 2:
        raise DatasetError("the models share fewer than two emotions: nothing to compare")
    among = [EMOTIONS.index(emotion) for emotion in common]
    every = list(range(len(EMOTIONS)))
    shared = np.isin(truth, among)
    first = contenders[0].right(truth, every)
    entries = []
    for contender in contenders:
        right = contender.right(truth, every)
        entry: dict[str, Any] = {
            "name": contender.name,
            "labels": list(contender.labels),
            "caveat": "",
            "no_face": int((~contender.answered).sum()),
            "milliseconds": contender.milliseconds,
            "timed": contender.timed,
            "bytes": contender.bytes,
            "all": _figures(contender, truth, every, np.ones(len(truth), dtype=bool)),
            "shared": _figures(contender, truth, among, shared) if shared.any() else None,
        }
        if contender is not contenders[0]:
            entry["against_first"] = _difference(right, first, people, who)
            if shared.any():
                ours, theirs = (
                    each.right(truth, among)[shared] for each in (contender, contenders[0])
                )
                entry["against_first_shared"] = _difference(ours, theirs, people[shared], who)
        entries.append(entry)
    # An emotion that a model never learnt must not decide between two.
    several = 0 < shared.sum() < len(truth)
    return {
        "n": len(truth),
        "tested": "against_first_shared" if several else "against_first",
        "n_shared": int(shared.sum()),
        "shared": common,
        "models": entries,
    }


def _difference(
    right: NDArray[np.bool_], first: NDArray[np.bool_], people: NDArray[np.int64], who: Who
) -> dict[str, Any]:
    """Compare the right answers of two on the same images, each (n,), of so numbered people."""
    low, high = paired_bootstrap(right, first)
    differences = right.astype(np.int64) - first
    people = np.unique(people, return_inverse=True)[1]  # some may be on other images alone
    if together := several_of_some(people):
        drawn = sums_over_people(np.stack([differences, np.ones(len(people))], axis=1), people)
        low, high = widened((low, high), drawn[:, 0] / drawn[:, 1], people)
    return {
        "difference": float(right.mean() - first.mean()),
        "interval": [low, high],
        "p": sign_flips(differences, people if together else np.arange(len(people))),
        "by": chosen_by(people, who),
    }


def save_comparison(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write what `compare` found as ``comparison.json`` and as a page, ``comparison.html``.

    Args:
        found: plain JSON values.
        folder: made where it is not there.

    Returns:
        The paths of what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, figures = folder / "comparison.html", folder / "comparison.json"
    write_text(figures, json.dumps(found, indent=2) + "\n")
    write_text(page, render_comparison(found))
    return [page, figures]


def paired_bootstrap(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the 95 % percentile interval of the difference of two accuracies on the same images.

    An image's difference is -1, 0 or 1, so drawing images with replacement is drawing how many of
    each there are.
    """
    n = len(ours)
    better, worse = (ours & ~theirs).sum(), (theirs & ~ours).sum()
    shares = np.array([better, worse, n - better - worse]) / n
    drawn = np.random.default_rng(0).multinomial(n, shares, size=_RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / n, (2.5, 97.5))
    return float(low), float(high)


def _figures(
    contender: Contender,
    truth: NDArray[np.int64],
    among: Sequence[int],
    chosen: NDArray[np.bool_],
) -> dict[str, float | None]:
    right = contender.right(truth, among)[chosen]
    labels = truth[chosen]
    figures: dict[str, float | None] = {
        "accuracy": float(right.mean()),
        "macro_recall": macro_recall_of_right(right, labels),
        "nll": None,
        "brier": None,
        "calibration_error": None,
    }
    judged = chosen & contender.answered
    if judged.any():
        shares = _among(contender.probabilities[judged], among)
        position = np.searchsorted(among, truth[judged])
        figures["nll"] = negative_log_likelihood(shares, position)
        figures["brier"] = brier_score(shares, position)
        figures["calibration_error"] = reliability(shares, position).error
    return figures


def _among(found: NDArray[np.floating[Any]], among: Sequence[int]) -> NDArray[np.float64]:
    """Scale probabilities, (n, 8), to sum to 1 over some emotions, (n, k); 0 where no face is."""
    shares = found[:, among].astype(np.float64)
    # All of the weight on an emotion that is not shared: nothing is known of the others.
    shares[found.any(axis=1) & ~shares.any(axis=1)] = 1
    total = shares.sum(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = shares / np.where(total > 0, total, 1)
    return scaled


def _ask_model(
    model: EmotionModel, batches: Iterable[NDArray[np.uint8]]
) -> NDArray[np.floating[Any]]:
    """Probabilities over the eight emotions, (n, 8)."""
    found = answers_of(model)(batches)
    spread = np.zeros((len(found), len(EMOTIONS)), dtype=np.float32)
    spread[:, [EMOTIONS.index(label) for label in model.card.labels]] = found
    return spread


def _ask_peer(
    name: str, command: str, batches: Iterable[NDArray[np.uint8]]
) -> NDArray[np.floating[Any]]:
    return ask_peer(name, command, chain.from_iterable(batches)).probabilities


def _milliseconds(
    models: Mapping[str, EmotionModel], dataset: Dataset, rows: NDArray[np.int64]
) -> dict[str, float]:
    """Median time of one face, the models taking turns so that a busy spell hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for image in dataset.images(rows[:_TIMED_FACES]):
        for name, model in models.items():
            started = time.perf_counter()
            model.probabilities([fit(image, model.card.spec)])
            taken[name].append(1000 * (time.perf_counter() - started))
    return {name: float(np.median(values)) for name, values in taken.items()}
