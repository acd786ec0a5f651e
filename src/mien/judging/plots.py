"""Pictures of figures: the curves of a run, a confusion matrix. Draws to files only."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from mien.annotate import PRINT_COLOURS
from mien.figure import save_figure
from mien.metrics import Evaluation

__all__ = [
    "save_calibration",
    "save_conditions",
    "save_confusion",
    "save_curves",
    "save_emotions",
    "save_environments",
    "save_runs",
    "save_search",
]

_INK = "#22303c"
_DARK = 0.76
"""Up to this share of the confusion's colours, ink is easier to read on them than white."""
_FAINT = "#c9d3dc"
_FEW = 40
"""Fewer answers than these are drawn as dots, too."""
_FEW_OF_BIN = 10
"""Fewer answers than these are drawn pale."""
_LEAST_SPAN = 0.1
"""Of accuracy: a closer look would make mountains of what one image more or less moves."""
_LONGEST_LINE = 72
_COLOURS = ("#0b7285", "#e8590c", "#5f3dc4")
_PALE = "#a3c9d1"
_UNDER = "#8b99a6"
"""Of what stands beside the point: plain on white, and no rival to `_COLOURS`."""
_STEPS = ("#63bfd0", "#1f8ca0", "#0b4f5c")
_STRENGTHS = ("weak", "middle", "strong")
_MARKERS = "osD^vPX*"
"""Of the emotions, which colour alone does not tell apart for everybody."""


def save_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss and accuracy of every epoch; dots mark the epochs that each rule would choose."""
    epochs = [entry["epoch"] for entry in history]
    lowest = min(history, key=lambda entry: entry["valid_loss"])
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    loss, share = figure.subplots(1, 2)
    loss.plot(epochs, [e["train_loss"] for e in history], color=_COLOURS[1], label="training")
    loss.plot(epochs, [e["valid_loss"] for e in history], color=_COLOURS[0], label="validation")
    loss.plot(lowest["epoch"], lowest["valid_loss"], "o", color=_COLOURS[0])
    loss.set_title(
        f"lowest loss: {lowest['valid_loss']:.3f} in epoch {lowest['epoch']}", loc="left"
    )
    chosen = []
    # Dashes, because the two coincide where every emotion has as many images.
    for key, colour, line in (("accuracy", _COLOURS[0], "-"), ("macro_recall", _COLOURS[2], "--")):
        name = key.replace("_", " ")
        share.plot(epochs, [e[f"valid_{key}"] for e in history], line, color=colour, label=name)
        highest = max(history, key=lambda entry: entry[f"valid_{key}"])
        share.plot(highest["epoch"], highest[f"valid_{key}"], "o", color=colour)
        chosen.append(f"{name} {highest[f'valid_{key}']:.1%} in epoch {highest['epoch']}")
    share.set_title(f"highest {', '.join(chosen)}", loc="left", fontsize=10)
    share.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (loss, share):
        axes.axvline(lowest["epoch"], color=_FAINT, linewidth=1, zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch; line: the lowest validation loss")
        axes.legend(frameon=False)
        _plain(axes)
    save_figure(figure, path)


def save_emotions(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw each emotion's way: recall, loss, and how much it counted where that was decided."""
    parts = {"valid_recall": "recall on validation", "valid_loss_of": "loss on validation"}
    if "emphasis" in history[-1]:
        parts["emphasis"] = "weight in training, relative to its number of images"
    epochs = [entry["epoch"] for entry in history]
    figure = Figure(figsize=(5 * len(parts), 4), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(parts)), parts.items(), strict=True):
        for emotion, marker in zip(history[-1][key], cycle(_MARKERS), strict=False):
            values = [np.nan if (v := entry[key][emotion]) is None else v for entry in history]
            look = {"color": PRINT_COLOURS[emotion], "marker": marker, "markersize": 4}
            axes.plot(epochs, values, **look, label=emotion)
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _plain(axes)
    figure.axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=len(names))
    save_figure(figure, path)


def save_search(path: Path, trials: Sequence[Mapping[str, Any]]) -> None:
    """Draw the lowest validation loss of each trial over each setting that was varied.

    Args:
        path: the PNG.
        trials: each with ``values`` (text by setting), ``loss`` and ``state``.
    """
    names = list(trials[0]["values"])
    figure = Figure(figsize=(4.4 * len(names), 4), layout="constrained")
    whole = [trial for trial in trials if trial["state"] == "whole"]
    others = [trial for trial in trials if trial["state"] != "whole"]
    best = min(whole, key=lambda trial: float(trial["loss"]))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        values = [trial["values"][name] for trial in trials]
        try:
            places = dict(zip(values, map(float, values), strict=True))
        except ValueError:
            places = {value: float(i) for i, value in enumerate(sorted(set(values)))}
            axes.set_xticks(list(places.values()), list(places))
            axes.set_xlim(-0.5, len(places) - 0.5)
        else:
            if min(places.values()) > 0 and max(places.values()) >= 10 * min(places.values()):
                axes.set_xscale("log")
        groups = (
            (others, _UNDER, "given up or failed"),
            (whole, _COLOURS[0], "finished"),
            ([best], _COLOURS[1], "best"),
        )
        for group, colour, label in (each for each in groups if each[0]):
            where = [places[trial["values"][name]] for trial in group]
            axes.plot(where, [trial["loss"] for trial in group], "o", color=colour, label=label)
        axes.set_xlabel(name)
        axes.set_ylabel("lowest validation loss")
        _plain(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3)
    save_figure(figure, path)


def save_runs(path: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss and accuracy on validation of several runs over the minutes of their training.

    Args:
        path: the PNG.
        runs: each with its ``name``, and ``minutes``, ``losses`` and ``accuracies`` by epoch.
    """
    figure = Figure(figsize=(11, 4.2 + 0.22 * -(-len(runs) // 5)), layout="constrained")
    for axes, (key, title) in zip(
        figure.subplots(1, 2),
        {"losses": "loss on validation", "accuracies": "accuracy on validation"}.items(),
        strict=True,
    ):
        for number, run in enumerate(runs):
            # Ten colours; where they begin again, the line is another.
            line, colour = ("-", "--", ":")[number // 10 % 3], f"C{number % 10}"
            axes.plot(run["minutes"], run[key], f".{line}", color=colour, label=run["name"])
        axes.set_title(title, loc="left")
        axes.set_xlabel("minutes of training; a dot an epoch")
        _plain(axes)
    figure.axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=5)
    save_figure(figure, path)


def save_calibration(path: Path, evaluation: Evaluation, *, title: str) -> None:
    """Draw how often a model is right by how sure it is, and what leaving out the unsure gains."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    sure, coverage = figure.subplots(1, 2)
    found = evaluation.reliability
    edges = np.linspace(0, 1, len(found.counts) + 1)
    heights = np.nan_to_num(found.accuracy)
    shares = found.counts / found.counts.sum()
    # A few images tell little of how often such answers are right.
    colours = [_COLOURS[0] if count >= _FEW_OF_BIN else _PALE for count in found.counts]
    sure.bar(edges[:-1], heights, np.diff(edges), align="edge", color=colours, edgecolor="w")
    sure.bar(edges[:-1], -shares, np.diff(edges), align="edge", color=_UNDER, edgecolor="w")
    sure.plot([0, 1], [0, 1], "-", color="w", linewidth=2.5)
    sure.plot([0, 1], [0, 1], "--", color=_INK, linewidth=1)
    sure.axhline(0, color=_INK, linewidth=0.8)
    sure.set_ylim(-max(0.1, 1.15 * shares.max()), 1)
    sure.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0%}"))
    few_of_bin = bool(((found.counts > 0) & (found.counts < _FEW_OF_BIN)).any())
    pale = f"; pale: fewer than {_FEW_OF_BIN} images" if few_of_bin else ""
    sure.set_xlabel(f"how sure; dashed: as sure as right{pale}")
    sure.set_title(
        f"right (up), share of the images (down): error {evaluation.calibration_error:.1%}",
        loc="left",
        fontsize=10,
    )
    count = len(evaluation.risk)
    share = np.arange(1, count + 1) / count
    # The first few answers are one way or the other: a share of them says nothing yet.
    kept = slice(min(count // 2, 20), None)
    few = count < _FEW
    coverage.plot(share[kept], 1 - evaluation.risk[kept], "o-" if few else "-", color=_COLOURS[0])
    if few:
        coverage.set_xlim(-0.02, 1.02)
        coverage.set_ylim(-0.02, 1.02)
    elif np.ptp(coverage.get_ylim()) < _LEAST_SPAN:
        top = max(coverage.get_ylim())
        coverage.set_ylim(top - _LEAST_SPAN, top)
    coverage.set_xlabel("share of the images that are answered, the surest first")
    coverage.set_title("accuracy where the unsure are left out", loc="left", fontsize=10)
    coverage.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (sure, coverage):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        _plain(axes)
    figure.suptitle(title, x=0.01, ha="left", color=_INK)
    save_figure(figure, path)


def save_confusion(path: Path, evaluation: Evaluation, *, title: str) -> None:
    """Draw the confusion matrix: rows are labels and sum to 100 %, cells hold share and count."""
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(evaluation.labels)
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="GnBu", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        axes.text(
            column,
            row,
            f"{shares[row, column]:.0%}\n{counts[row, column]:,}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if shares[row, column] > _DARK else _INK,
        )
    names = list(evaluation.labels)
    axes.set_xticks(range(k), names, rotation=35, ha="right")
    axes.set_yticks(range(k), [f"{n} ({evaluation.support[n]:,})" for n in names])
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    _plain(axes)
    figure.suptitle(fill(title, _LONGEST_LINE), x=0.01, ha="left", color=_INK)
    save_figure(figure, path)


def save_environments(path: Path, found: Mapping[str, Any], *, title: str) -> None:
    """Draw the accuracy in every condition at its three strengths, the worst at the bottom."""
    conditions = found["conditions"]
    order = sorted(conditions, key=lambda name: conditions[name][1]["accuracy"])
    figure = Figure(figsize=(10, 1.6 + 0.3 * len(order)), layout="constrained")
    axes = figure.subplots()
    clean = found["clean"]["accuracy"]
    axes.axvline(clean, color=_INK, linewidth=1)
    for place, name in enumerate(order):
        values = [entry["accuracy"] for entry in conditions[name]]
        axes.plot([min(values), clean], [place, place], color=_FAINT, linewidth=2, zorder=1)
        for value, shade, strength in zip(values, _STEPS, _STRENGTHS, strict=True):
            label = strength if place == 0 else None
            axes.plot(value, place, "o", color=shade, markersize=8, label=label, linestyle="")
    axes.set_yticks(range(len(order)), [name.replace("_", " ") for name in order])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"accuracy; line: clean, {clean:.1%}")
    figure.legend(frameon=False, loc="outside upper right", ncols=3)
    middle = found["middle"]
    axes.set_title(
        f"{title}\nat the middle strength {middle['mean_share_of_clean']:.0%} of it is left, "
        f"{middle['worst'].replace('_', ' ')} leaves {middle['worst_share_of_clean']:.0%}",
        loc="left",
        fontsize=10,
    )
    _plain(axes)
    save_figure(figure, path)


def save_conditions(path: Path, faces: Mapping[str, Sequence[NDArray[np.uint8]]]) -> None:
    """Draw one face in every condition, its strengths from left to right."""
    columns = 3
    rows = -(-len(faces) // columns)
    figure = Figure(figsize=(11, 1.35 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (name, pictures) in zip(grid.flat, faces.items(), strict=False):
        axes.imshow(np.concatenate(list(pictures), axis=1))
        axes.set_title(name.replace("_", " "), loc="left", fontsize=9, color=_INK, pad=2)
    save_figure(figure, path)


def _plain(axes: Axes) -> None:
    axes.tick_params(colors=_INK, length=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(_FAINT)
