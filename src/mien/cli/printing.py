"""Results in words and tables, on standard output."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mien.people import images_of_people, who_is_shown
from mien.records import SPLITS, Prediction

if TYPE_CHECKING:
    from mien.judging.evaluate import Report
    from mien.judging.groups import Groups
    from mien.training.search import Trial
    from mien.training.soup import Tried
    from mien.training.summary import RunSummary
    from mien.video.timeline import Timeline

from mien.cli.terminal import err_console, out_console, shown

_PEOPLE_TOLD = 12
_REASONS_TOLD = 10
_GROUPS_TOLD = 12
_FOLDS_TOLD = 12
_PROBABILITY_FIGURES = ("nll", "calibration_error", "brier")
_SMALLEST_P = 0.001
_TIMED_AS_RUN = "timed as a run, by PyTorch; 'mien export' makes a file that is quicker"
_OF_SEEDS = (
    ("accuracy", "accuracy", ".2%"),
    ("macro_recall", "macro recall", ".2%"),
    ("nll", "NLL", ".3f"),
    ("calibration_error", "calibration error", ".2%"),
)


def _figures_table(first: str, *others: str) -> Table:
    """Return a table whose columns, the first aside, hold figures."""
    table = Table(first, *others, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def print_prediction(prediction: Prediction) -> None:
    """Say in a line what was seen in a picture; of one that cannot be read, nothing."""
    if prediction.error:
        return
    faces = ", ".join(f"{face.emotion} {face.confidence:.0%}" for face in prediction.faces)
    out_console.print(f"{shown(prediction.source)}: {faces or 'no face found'}", soft_wrap=True)


def print_timeline(timeline: "Timeline") -> None:
    """Sum up a video: who was in it, and how they looked."""
    people = timeline.people()
    count = f"{timeline.faces or 'no'} face{'' if timeline.faces == 1 else 's'}"
    out_console.print(
        f"{shown(timeline.source)}: {timeline.frames:,} frames, {timeline.duration_s:.1f} s, "
        f"{count}",
        soft_wrap=True,
    )
    for person in people[:_PEOPLE_TOLD]:
        shares = ", ".join(f"{e} {share:.0%}" for e, share in list(person.shares().items())[:3])
        out_console.print(f"  face {person.number}: {person.seen_s:.1f} s, {shares}")


def print_dataset(path: Path, info: dict[str, Any]) -> None:
    """Say how many images each split has of each emotion."""
    table = _figures_table("emotion", *SPLITS)
    for emotion in info["labels"]:
        table.add_row(emotion, *(f"{info['counts'][s].get(emotion, 0):,}" for s in SPLITS))
    table.add_row("all", *(f"{sum(info['counts'][s].values()):,}" for s in SPLITS), style="bold")
    out_console.print(table)
    counts: Counter[str] = Counter()
    of: dict[str, list[str]] = {}
    for split in SPLITS:
        counts.update(info["excluded"][split])
        for reason in info["excluded"][split]:
            of.setdefault(reason, []).append(split)
    for reason, count in counts.most_common(_REASONS_TOLD):
        splits = ", ".join(of[reason])
        out_console.print(f"left out of {splits}: {count:,} {shown(reason)}", soft_wrap=True)
    if more := counts.total() - sum(count for _, count in counts.most_common(_REASONS_TOLD)):
        out_console.print(f"left out: {more:,} for other reasons (dataset.json)")
    for note in info["notes"]:
        out_console.print(f"note: {shown(note)}", soft_wrap=True)
    out_console.print(f"dataset: {shown(path)}", soft_wrap=True)


def print_epoch(entry: dict[str, Any]) -> None:
    """Say how an epoch of training went, beside the progress."""
    fold = f"fold {entry['fold']}  " if "fold" in entry else ""
    err_console.print(
        f"{fold}epoch {entry['epoch']:>3}  train loss {entry['train_loss']:.4f}  "
        f"valid loss {entry['valid_loss']:.4f}  accuracy {entry['valid_accuracy']:.2%}  "
        f"macro recall {entry['valid_macro_recall']:.2%}  {entry['seconds']:.0f} s",
        soft_wrap=True,
    )


def print_tried(run: "Tried") -> None:
    """Say what became of a run that was to be averaged."""
    became = "taken" if run.taken else "left out"
    out_console.print(
        f"{shown(run.run)}: validation loss {run.alone:.4f}, averaged {run.averaged:.4f}: {became}",
        soft_wrap=True,
    )


def print_fold(entry: dict[str, Any], folds: int) -> None:
    """Say how a fold of a cross-validation was judged, beside the progress."""
    who = who_is_shown(entry["subjects"], entry["nameless"])
    images = shown(images_of_people(entry["n"], who, entry["nameless"]))
    err_console.print(
        f"fold {entry['fold']}/{folds}  {images}  accuracy {entry['accuracy']:.2%}  "
        f"macro recall {entry['macro_recall']:.2%}  loss {entry['nll']:.4f}",
        soft_wrap=True,
    )


def print_trial(trial: "Trial") -> None:
    """Say how a trial of a search ended, beside the progress."""
    if trial.accuracy is None:
        ended = f"failed: {trial.reason}"
    else:
        ended = f"valid loss {trial.loss:.4f}  accuracy {trial.accuracy:.2%}"
        if trial.state != "whole":
            ended += f"  {trial.state} after {len(trial.losses)} epochs"
    said = f"{shown(values_of(trial))}  {shown(ended)}  {trial.seconds:.0f} s"
    err_console.print(f"trial {trial.number:>3}  {said}", soft_wrap=True)


def values_of(trial: "Trial") -> str:
    """Say what a trial's settings are, numbers with a few digits: searches draw them at length."""
    return " ".join(f"{name}={_rounded(value)}" for name, value in trial.values.items())


def _rounded(text: str) -> str:
    try:
        return text if text.isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def print_runs(runs: "Sequence[RunSummary]") -> None:
    """Show runs side by side, those on the same data together."""
    from mien.training.summary import differ_by_seed, differing  # need torch

    groups: dict[str, list[RunSummary]] = {}
    for run in runs:
        groups.setdefault(_on_what(run.dataset), []).append(run)
    headings = ("network", "layers", "weights", "MB", "epochs", "s/epoch")
    for title, members in groups.items():
        out_console.print(shown(title), soft_wrap=True)
        table = _figures_table("run", *headings, "accuracy", "macro recall", "loss")
        table.collapse_padding, table.pad_edge = True, False  # So that it fits into 80 columns.
        table.columns[0].overflow = "fold"  # Ends of names tell runs apart.
        table.columns[1].justify = "left"
        for run in members:
            done = len(run.losses)
            table.add_row(
                shown(run.name),
                run.network,
                str(run.layers),
                f"{run.weights / 1e6:.2f} M",
                f"{run.bytes / 1e6:.1f}",
                str(done) if done == run.planned else f"{done}/{run.planned}",
                f"{run.epoch_seconds:,.0f}",
                f"{run.best_accuracy:.2%}",
                f"{run.best_macro_recall:.2%}",
                f"{run.best_loss:.4f}" + "*" * run.emotion_based,
            )
        out_console.print(table)
        if any(run.emotion_based for run in members):
            out_console.print("* weighs images by their emotion: not to be compared with others")
        for run, settings in zip(members, differing(members), strict=True):
            if told := " ".join(f"{key}={_setting(value)}" for key, value in settings.items()):
                out_console.print(f"{shown(run.name)}: {shown(told)}", soft_wrap=True)
        for alike in differ_by_seed(members):
            _print_seeds(alike)
    if runs:
        out_console.print("loss: before calibration; 'mien eval' tells that of calibrated answers")


def _on_what(data: Mapping[str, Any]) -> str:
    """Say what a run was trained on; folds of one dataset are the same."""
    whole, _, fold = str(data["fingerprint"]).partition(" fold ")
    if fold:
        count = fold.split()[0].partition("/")[2]
        return f"{data['source_format']}, {count} folds that each judge other images (data {whole})"
    return (
        f"{data['source_format']}, {data['train']:,} images to train and {data['valid']:,} to "
        f"validate (data {whole})"
    )


def _setting(value: Any) -> str:
    """Write a setting as --set takes it, numbers to four digits."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, list | tuple | bool) else str(value)


def _print_seeds(runs: "Sequence[RunSummary]") -> None:
    """Show mean and standard deviation of what runs chose that differ by their seed."""

    def spread(key: str, form: str) -> str:
        values = [run.chosen[key] for run in runs]
        return f"{mean(values):{form}} ± {stdev(values):{form}}"

    names, seeds = (
        ", ".join(of) for of in zip(*((r.name, str(r.seed)) for r in runs), strict=True)
    )
    out_console.print(
        f"{shown(names)} differ by their seed ({seeds}). Above, each figure is of its best "
        "epoch; of the epochs of the lowest loss, mean ± standard deviation: "
        f"accuracy {spread('accuracy', '.2%')}, macro recall {spread('macro_recall', '.2%')}, "
        f"loss {spread('loss', '.4f')}",
        soft_wrap=True,
    )


def print_report(report: "Report") -> None:
    """Show the figures of an evaluation."""
    figures = report.evaluation
    out_console.print(
        Text(shown(report.model), "bold"),
        f"on {shown(report.dataset['name'])} {report.split}, "
        f"n = {figures.count:,}: accuracy {figures.accuracy:.2%}, "
        f"macro recall {figures.macro_recall:.2%}, NLL {figures.nll:.4f}, calibration error "
        f"{figures.calibration_error:.2%}, Brier {figures.brier:.4f}",
        soft_wrap=True,
    )
    (low, high), (least, most) = report.intervals["accuracy"], report.intervals["macro_recall"]
    of = "" if report.intervals_by == "images" else f" by {report.intervals_by}"
    out_console.print(
        f"95 % intervals{of}: accuracy {low:.1%} to {high:.1%}, "
        f"macro recall {least:.1%} to {most:.1%}",
        soft_wrap=True,
    )
    if videos := report.videos:
        within = videos["intervals"]
        (low, high), (least, most) = within["accuracy"], within["macro_recall"]
        out_console.print(
            f"each video once, by the mean of its pictures, n = {videos['n']:,}: accuracy "
            f"{videos['accuracy']:.2%} ({low:.1%} to {high:.1%}), macro recall "
            f"{videos['macro_recall']:.2%} ({least:.1%} to {most:.1%}), NLL {videos['nll']:.4f}",
            soft_wrap=True,
        )
    table = _figures_table("emotion", "n", "recall", "precision", "F1")
    for emotion, count in figures.support.items():
        values = (part[emotion] for part in (figures.recall, figures.precision, figures.f1))
        listed = ["-" if value is None else f"{value:.1%}" for value in values]
        table.add_row(emotion, f"{count:,}", *listed)
    out_console.print(table)
    if report.caveat:
        out_console.print(report.caveat, soft_wrap=True)
    for label, count in report.left_out.items():
        out_console.print(f"left out: {count:,} {label}, which the model does not know")
    if report.cross_validation:
        _print_folds(report.cross_validation)
    for column, groups in report.groups.items():
        _print_groups(column, groups)
    if report.environments:
        _print_environments(report.environments)


def _print_folds(found: dict[str, Any]) -> None:
    mean, deviation = found["mean"], found["deviation"]
    spread = ", ".join(
        f"{name} {100 * mean[key]:.2f} ± {100 * deviation[key]:.2f} %"
        for name, key in (("accuracy", "accuracy"), ("macro recall", "macro_recall"))
    )
    out_console.print(
        f"{len(found['folds'])} folds, mean ± standard deviation: {spread}, "
        f"NLL {mean['nll']:.4f} ± {deviation['nll']:.4f}",
        soft_wrap=True,
    )
    table = _figures_table("fold", "n", "people", "accuracy", "macro recall", "NLL")
    for entry in found["folds"][:_FOLDS_TOLD]:
        table.add_row(
            str(entry["fold"]),
            f"{entry['n']:,}",
            shown(who_is_shown(entry["subjects"], entry["nameless"]) or "-"),
            f"{entry['accuracy']:.1%}",
            f"{entry['macro_recall']:.1%}",
            f"{entry['nll']:.3f}",
        )
    out_console.print(table)
    if len(found["folds"]) > _FOLDS_TOLD:
        out_console.print(f"and {len(found['folds']) - _FOLDS_TOLD:,} more folds")


def _print_groups(column: str, groups: "Groups") -> None:
    table = _figures_table(shown(column), "n", "accuracy", "95 %", "macro recall", "NLL")
    table.columns[0].overflow = "fold"
    for value, group in list(groups.items())[:_GROUPS_TOLD]:
        table.add_row(
            shown(value),
            f"{group['n']:,}",
            f"{group['accuracy']:.1%}",
            "{:.1%} to {:.1%}".format(*group["accuracy_interval"]),
            f"{group['macro_recall']:.1%}",
            f"{group['nll']:.3f}",
        )
    out_console.print(table)
    if len(groups) > _GROUPS_TOLD:
        out_console.print(f"and {len(groups) - _GROUPS_TOLD:,} more groups")


def _print_environments(found: dict[str, Any]) -> None:
    table = _figures_table("condition", "weak", "middle", "strong", "NLL")
    for name, entries in found["conditions"].items():
        table.add_row(
            name.replace("_", " "),
            *(f"{entry['accuracy']:.1%}" for entry in entries),
            f"{entries[1]['nll']:.3f}",
        )
    out_console.print(table)
    middle = found["middle"]
    out_console.print(
        f"at the middle strength {middle['mean_share_of_clean']:.1%} of the clean accuracy is "
        f"left, {middle['worst'].replace('_', ' ')} leaves {middle['worst_share_of_clean']:.1%}; a "
        f"trembling box changes {found['flips']:.1%} of the answers",
        soft_wrap=True,
    )


def print_comparison(found: dict[str, Any]) -> None:
    """Show several models side by side."""
    out_console.print(
        f"{shown(found['dataset']['name'])} {found['split']}, n = {found['n']:,}; "
        f"{len(found['shared'])} shared emotions, n = {found['n_shared']:,}",
        soft_wrap=True,
    )
    tested = found["tested"]
    several = tested == "against_first_shared"
    headings = (
        "accuracy",
        *(("shared",) if several else ()),
        "macro recall",
        "NLL",
        "ECE",
        "Brier",
        "ms",
        "MB",
        "p, shared" if several else "p",
    )
    table = _figures_table("model", *headings)
    table.collapse_padding, table.pad_edge = True, False  # So that it fits into 80 columns.
    table.columns[0].overflow = "fold"  # Ends of names tell models apart.
    for entry in found["models"]:
        whole, shared = entry["all"], entry["shared"]
        test = entry.get(tested)
        table.add_row(
            shown(entry["name"]),
            f"{whole['accuracy']:.2%}",
            *(["-" if shared is None else f"{shared['accuracy']:.2%}"] if several else []),
            f"{whole['macro_recall']:.2%}",
            *("-" if whole[key] is None else f"{whole[key]:.3f}" for key in _PROBABILITY_FIGURES),
            f"{entry['milliseconds']:.2f}",
            "-" if entry["bytes"] is None else f"{entry['bytes'] / 1e6:.1f}",
            "" if test is None else _p(test["p"]),
        )
    out_console.print(table)
    for group in found["seeds"]:
        told = (
            f"{name} {group['mean'][key]:{form}} ± {group['deviation'][key]:{form}}"
            for key, name, form in _OF_SEEDS
        )
        seeds = ", ".join(map(str, group["seeds"]))
        out_console.print(
            f"{shown(', '.join(group['models']))} differ by their seed ({seeds}), mean ± standard "
            f"deviation: {', '.join(told)}",
            soft_wrap=True,
        )
    by = found["models"][1][tested]["by"]
    if by != "images":
        out_console.print(f"p by {by}")
    said: dict[str, list[str]] = {}
    for entry in found["models"]:
        if entry["caveat"]:
            said.setdefault(entry["caveat"], []).append(entry["name"])
        if entry["timed"] == "run":
            said.setdefault(_TIMED_AS_RUN, []).append(entry["name"])
    for text, names in said.items():
        out_console.print(f"{shown(', '.join(names))}: {text}", soft_wrap=True)
    for entry in found["models"]:
        if entry["no_face"]:
            out_console.print(f"{shown(entry['name'])}: no face in {entry['no_face']:,} images")
    for entry in found["models"]:
        if "environments" in entry:
            middle = entry["environments"]["middle"]
            worst = middle["worst"].replace("_", " ")
            out_console.print(
                f"{shown(entry['name'])}: in environments {middle['mean_share_of_clean']:.1%} of "
                f"its accuracy, {middle['worst_share_of_clean']:.1%} with {worst}; "
                f"a trembling box changes {entry['environments']['flips']:.1%} of its answers",
                soft_wrap=True,
            )


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= _SMALLEST_P else f"< {_SMALLEST_P:g}"


def print_race(found: dict[str, Any]) -> None:
    """Say how long two recipes took to the same accuracy, and to the same loss."""
    for figure, shape in (("accuracy", ".2%"), ("loss", ".4f")):
        of = found[figure]
        reached = (
            "not reached"
            if of["our_seconds"] is None
            else f"{of['our_seconds']:,.0f} s, {of['ratio']:.1f} times as fast"
        )
        out_console.print(
            f"{shown(found['theirs'])}: best validation {figure} {of['goal']:{shape}} after "
            f"{of['their_seconds']:,.0f} s of training; {shown(found['ours'])}: {reached}",
            soft_wrap=True,
        )


def print_speeds(found: dict[str, Any]) -> None:
    """Show speeds beside their baselines and what the machine could do at best."""
    machine = found["machine"]
    peaks = (
        f"{precision}, "
        + ", ".join(
            f"{threads} thread{'' if threads == '1' else 's'} {rate / 1e9:,.0f} GFLOP/s"
            for threads, rate in rates.items()
        )
        for precision, rates in machine["operations_per_second"].items()
    )
    copies = f"copies {machine['bytes_per_second'] / 1e9:.0f} GB/s"
    out_console.print(
        f"{shown(machine['processor'])}: {'; '.join((*peaks, copies))}", soft_wrap=True
    )
    table = _figures_table("what", "speed", "times", "as fast as", "of the limit, set by")
    table.columns[3].justify = "left"
    for figure in found["figures"]:
        ratio, share = figure["ratio"], figure["share_of_limit"]
        table.add_row(
            shown(figure["name"]),
            f"{figure['value']:,.2f} {figure['unit']}",
            "" if ratio is None else f"{ratio:.1f}",
            "" if ratio is None else shown(figure["against"]),
            "" if share is None else f"{share:.0%}, {figure['bound']}",
        )
    out_console.print(table)
