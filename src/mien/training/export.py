"""From a run to one file that runs without torch, checked against the original."""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from mien.atomic import beside, replacing
from mien.card import METADATA_KEY, ModelCard
from mien.errors import ModelError
from mien.judging.evaluate import REPORT_NAME
from mien.model import AGREEMENT, OnnxModel, agreement
from mien.onnx.compact import compact
from mien.onnx.quantise import drawn_crops, quantise
from mien.onnx.quicken import quicken
from mien.records import SPLITS, Split, show_path
from mien.training.emphasis import counts_of, undecided, worth_of
from mien.training.networks import Views
from mien.training.runs import TorchModel, open_run

__all__ = ["TOLERANCE", "export_int8", "export_run", "note_figures"]

TOLERANCE = 1e-4
"""Largest difference allowed between a probability of the file and of the original."""

_COMPARED = 512

_ON_CARD = ("n", "accuracy", "macro_recall", "nll", "recall", "left_out", "dataset")
"""What of an evaluation a card tells, and the ``caveat`` where there is one."""


def export_run(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    worth: float | None = None,
    views: bool = False,
) -> tuple[ModelCard, float]:
    """Write a run's best epoch as ONNX with its card inside.

    Figures of ``mien eval RUN`` that lie in the run folder go into the card, but for those of
    another epoch: a run that went on since may have a better one.

    Args:
        run: of ``mien.training.train.train``.
        out: the file.
        worth: decide answers by macro recall + so many times accuracy, see
            `mien.training.emphasis`. None: as the run does.
        views: average the answers to nine views of each face, see `mien.training.networks.Views`.
            With this or ``worth`` the card has no figures, which are of other answers.

    Returns:
        The card, and the largest difference found between the file's probabilities and torch's.

    Raises:
        ModelError: there is no finished run, the file answers otherwise than the original, a
            report in the run folder is damaged, or ``worth`` is given and the card does not tell
            what it needs.
    """
    run, out = Path(run), Path(out)
    original = _original(run, out, worth=worth, views=views)
    with replacing(out) as partial:
        proto = _exported(original, out)
        compact(proto.graph)
        _save(proto, original.card, partial)
        difference = _check(original, partial, out)
    return original.card, difference


def export_int8(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    worth: float | None = None,
    views: bool = False,
) -> tuple[ModelCard, float]:
    """Write a run's best epoch as ONNX with 8 bits inside: a quarter of the size, and quicker.

    Its card has no figures: those of the run are of other answers. See ``note_figures``.

    Args:
        run: of ``mien.training.train.train``.
        out: the file.
        worth: as for `export_run`.
        views: likewise.

    Returns:
        The card, and the share of drawn faces, none of those that set its scales, to which the
        file answers as the run does.

    Raises:
        ModelError: there is no finished run, or the file answers otherwise too often.
    """
    run, out = Path(run), Path(out)
    original = _original(run, out, worth=worth, views=views)
    card = original.card.model_copy(update={"figures": {}})
    exact = beside(out)
    try:
        _save(_exported(original, out), card, exact)
        _check(original, exact, out)
        with replacing(out) as partial:
            quantise(exact, partial, card)
            proto = onnx.load_model(str(partial))
            compact(proto.graph)
            _save(proto, card, partial)
            crops = drawn_crops(card.spec, count=_COMPARED, seed=1)
            agreed = agreement(OnnxModel(exact), OnnxModel(partial), crops)
            if agreed < AGREEMENT:
                raise ModelError(
                    f"{out}: with 8 bits it answers as the run does for {agreed:.0%} of "
                    f"{_COMPARED} drawn faces, expected {AGREEMENT:.0%}; nothing was written"
                )
    finally:
        exact.unlink(missing_ok=True)
    return card, agreed


def note_figures(path: Path, split: Split, figures: Mapping[str, Any]) -> None:
    """Write a model file again with what was measured of it on its card.

    Args:
        path: an ONNX file with a card.
        split: that it was measured on; its figures on the card, if any, are replaced.
        figures: as ``mien.judging.evaluate.Report.to_json`` tells them; what belongs on a card is
            kept.

    Raises:
        ModelError: it is no model file.
    """
    card = OnnxModel(path).card
    card = card.model_copy(update={"figures": {**card.figures, split: _for_card(figures)}})
    proto = onnx.load_model(str(path))
    with replacing(path.resolve()) as partial:  # a link to it stays one
        _save(proto, card, partial)


def _original(run: Path, out: Path, *, worth: float | None, views: bool) -> TorchModel:
    """Open what is to be exported to a file, and make room for that."""
    opened = open_run(run)
    card = opened.card
    figures = {}
    if worth is None and not views:
        figures = dict(card.figures) | _reported_figures(run, card)
    if worth is not None:
        card = _decided(card, worth)
    if views:
        card = card.model_copy(update={"views": Views.COUNT})
    out.parent.mkdir(parents=True, exist_ok=True)
    return TorchModel(
        opened.network, card.model_copy(update={"name": show_path(out.stem), "figures": figures})
    )


def _decided(card: ModelCard, worth: float) -> ModelCard:
    """Return the card of a model whose answers are decided by another worth of accuracy."""
    temperature, told = undecided(card)
    offsets = told + np.log(worth_of(counts_of(card), worth))
    offsets -= offsets.max()
    decided = {"worth": worth, "temperature": temperature, "offsets": tuple(offsets.tolist())}
    return card.model_copy(update={**decided, "tilt": (), "untilted_temperature": None})


def _save(proto: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write a model with its card inside."""
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA_KEY, value=card.model_dump_json())
    onnx.save_model(proto, str(path))


def _reported_figures(run: Path, card: ModelCard) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    best = card.training.get("best_epoch")
    for path in (run / f"eval-{split}" / REPORT_NAME for split in SPLITS):
        if not path.exists():
            continue
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            if report.get("best_epoch", best) == best:
                figures[report["split"]] = _for_card(report)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path}: not what 'mien eval' writes ({type(error).__name__}: {error}); run it "
                "again, or remove the folder"
            ) from None
    return figures


def _for_card(report: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: report[key] for key in _ON_CARD}
    if caveat := report.get("caveat"):
        told["caveat"] = caveat
    # What somebody's folder is called is nobody else's concern.
    told["dataset"] = {key: told["dataset"][key] for key in told["dataset"] if key != "name"}
    return told


def _exported(original: TorchModel, out: Path) -> onnx.ModelProto:
    """Return what ONNX has to say of a network that is to become a file."""
    card = original.card
    # Two images, because a batch of one would be taken for a constant.
    example = torch.zeros(2, card.channels, card.size, card.size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter warns of its own internals, which a user can do nothing about.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            original.answers,
            (example,),
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("n")}},
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ModelError(f"{out}: torch gave no ONNX program")
    proto = program.model_proto
    quicken(proto.graph)
    for node in proto.graph.node:
        # Names of source files and lines of the machine that exported: nobody's business.
        del node.metadata_props[:]
        node.doc_string = ""
    return proto


def _check(original: TorchModel, path: Path, out: Path) -> float:
    """Return by how much the answers of an exact file differ, which is to become ``out``."""
    difference = _largest_difference(original, OnnxModel(path))
    if difference > TOLERANCE:
        raise ModelError(
            f"{out}: the exported file differs from the run by {difference:.2e}, expected at "
            f"most {TOLERANCE:.0e}; nothing was written"
        )
    return difference


def _largest_difference(original: TorchModel, exported: OnnxModel) -> float:
    spec = original.card.spec
    shape = (spec.size, spec.size, spec.channels)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(16)]
    # Smooth, flat and one-colour pictures too: noise alone would leave the extremes untried.
    ramp = np.linspace(0, 255, spec.size, dtype=np.uint8)
    crops += [np.broadcast_to(ramp[:, None, None], shape), np.zeros(shape, np.uint8)]
    crops += [np.full(shape, 255, np.uint8)]
    difference = np.abs(original.probabilities(crops) - exported.probabilities(crops))
    return float(difference.max())
