"""An audit as one HTML file that a stranger can read: pictures, counts and what to do about them.

Everything lies in the file, it asks no one for anything and runs no script. Paths and labels are
taken for hostile: the template escapes them, and what cannot be printed is spelt out. Judges
nothing: what is wrong, and how badly, was decided before.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.audit.findings import KINDS, Audit, Finding, ValueFigures
from mien.data.dataset import PART, Dataset
from mien.labels import EMOTIONS
from mien.pages import data_uri, render
from mien.records import SPLITS, printable

__all__ = ["FILTERS", "picture_uri", "render_page", "text_of"]

_THUMBNAIL: Final = 96
"""Longest side of a thumbnail, pixels; smaller images stay as they are."""

_MOST_IMAGES: Final = 8
_MOST_ITEMS: Final = 8
_LONGEST_NAME: Final = 26
_LONGEST_TEXT: Final = 96
_THRESHOLDS: Final = (0.02, 0.1, 0.3, 0.7, 0.9, 0.98)
"""Shares of all images below the thresholds that are shown: filters cut at the ends."""


class _Piece(NamedTuple):
    """A part of a value as it is shown; ``tone`` is set where it names an emotion."""

    text: str
    tone: str | None


class _Fact(NamedTuple):
    """One entry of a finding's evidence."""

    name: str
    pieces: tuple[_Piece, ...]
    more: int


class _Shot(NamedTuple):
    """One image of a finding with its caption.

    ``uri`` is None where there is no image, ``part`` where the dataset was not joined.
    """

    path: str
    name: str
    part: str | None
    split: str
    label: _Piece
    uri: str | None


class _Card(NamedTuple):
    shots: tuple[_Shot, ...]
    more: int
    facts: tuple[_Fact, ...]
    left_out: bool


class _Section(NamedTuple):
    kind: str
    title: str
    says: str
    advice: str
    found: int
    left_out: int
    grouped: bool
    cards: tuple[_Card, ...]


class _Tile(NamedTuple):
    """How often a kind was found; ``found`` is None where nobody looked."""

    kind: str
    title: str
    found: int | None


class _Part(NamedTuple):
    """An emotion's share of a split; ``bar`` is the length of its bar, 0..100."""

    images: int
    percent: float
    bar: float


class _Balance(NamedTuple):
    splits: tuple[tuple[str, int], ...]
    rows: tuple[tuple[_Piece, tuple[_Part, ...]], ...]


class _Cell(NamedTuple):
    """One cell of the matrix; ``share`` is what it is of its folder, 0..1."""

    rows: int
    share: float
    agrees: bool


class _Matrix(NamedTuple):
    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[_Cell, ...]], ...]
    total: int
    percent: float
    worst: tuple[tuple[str, str, int], ...]


class _Strip(NamedTuple):
    """How one emotion's values are spread: an SVG path, and the share below each threshold."""

    label: _Piece
    total: int
    outline: str
    below: tuple[float | None, ...]


class _Values(NamedTuple):
    name: str
    says: str
    bins: int
    ticks: tuple[tuple[float, str], ...]
    cuts: tuple[tuple[int, str], ...]
    strips: tuple[_Strip, ...]


def render_page(audit: Audit, dataset: Dataset, *, per_kind: int = 48) -> str:
    """Return an audit as one HTML page with the images of its findings in it.

    Args:
        audit: what was found.
        dataset: the dataset that was audited; the findings' rows are rows of its manifest.
        per_kind: of how many findings of each kind the images are shown.

    Returns:
        HTML that needs no other file.
    """
    summary = audit.summary
    found = {kind: audit.of_kind(kind) for kind, count in summary.items() if count}
    shown = [finding for findings in found.values() for finding in findings[:per_kind]]
    shots = _shots(dataset, (row for finding in shown for row in _first(finding)))
    return render(
        "data/audit/page.html.j2",
        FILTERS,
        audit=audit,
        name=dataset.name,
        touched=len({row for finding in audit.findings for row in finding.rows}),
        tiles=[_Tile(name, kind.title, summary.get(name)) for name, kind in KINDS.items()],
        balance=_balance(audit.balance),
        matrix=_matrix(audit.folders) if audit.folders else None,
        sections=[
            _section(kind, findings, findings[:per_kind], shots) for kind, findings in found.items()
        ],
        values=[_values(figures) for figures in audit.values if len(figures.edges) > 1],
    )


# Texts


def _shorten(text: str, length: int = _LONGEST_TEXT) -> str:
    """Leave out the middle: names of files differ at their ends."""
    text = printable(text)
    head = (length - 1) // 2
    return text if len(text) <= length else f"{text[:head]}…{text[head + 1 - length :]}"


def _tone(label: str | None) -> str:
    """Return the class that gives an emotion its colour."""
    return f"e-{label}" if label in EMOTIONS else "e-other"


def _percent(value: float) -> str:
    return "<0.1" if 0 < value < 0.05 else f"{value:.1f}"


def _figure(value: float) -> str:
    """Return a number with three significant digits, without an exponent where it is large."""
    rounded = float(f"{value:.3g}")
    if rounded == 1 and value < 1:
        return f"{value:.4f}"  # a suspicion that is not certain
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def text_of(value: Any) -> str:
    """Return a value of a finding's evidence in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _figure(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(part) for part in value)
    return "none" if value is None else str(value)


def _pieces(value: Any) -> Iterator[_Piece]:
    parts = value if isinstance(value, list | tuple) else [value]
    for part in parts:
        named = isinstance(part, str) and part in EMOTIONS
        yield _Piece(_shorten(text_of(part)), _tone(part) if named else None)


def _facts(evidence: Mapping[str, Any]) -> tuple[_Fact, ...]:
    facts = []
    for name, value in evidence.items():
        if value is not None and name != "excluded_already":
            pieces = tuple(_pieces(value))
            shown = pieces[:_MOST_ITEMS]
            facts.append(_Fact(_shorten(name.replace("_", " ")), shown, len(pieces) - len(shown)))
    return tuple(facts)


FILTERS: Final[Mapping[str, Callable[..., str]]] = MappingProxyType(
    {
        "number": lambda count: f"{count:,}",
        "percent": _percent,
        "plain": printable,
        "shorten": _shorten,
    }
)
"""Of the templates of this folder."""


# Findings


def _first(finding: Finding) -> tuple[int, ...]:
    return finding.rows[:_MOST_IMAGES]


def _section(
    kind: str, found: Sequence[Finding], shown: Sequence[Finding], shots: Mapping[int, _Shot]
) -> _Section:
    return _Section(
        kind=kind,
        title=KINDS[kind].title,
        says=KINDS[kind].says,
        advice=KINDS[kind].advice,
        found=len(found),
        left_out=sum(_left_out(finding) for finding in found),
        grouped=any(len(finding.rows) > 1 for finding in shown),
        cards=tuple(_card(finding, shots) for finding in shown),
    )


def _card(finding: Finding, shots: Mapping[int, _Shot]) -> _Card:
    shown = _first(finding)
    return _Card(
        shots=tuple(shots[row] for row in shown),
        more=len(finding.rows) - len(shown),
        facts=_facts(finding.evidence),
        left_out=_left_out(finding),
    )


def _left_out(finding: Finding) -> bool:
    return finding.evidence.get("excluded_already") is True


def _shots(dataset: Dataset, rows: Iterable[int]) -> dict[int, _Shot]:
    """Return each row's image and caption; an image is encoded once however often it is shown."""
    wanted = sorted(set(rows))
    if not wanted:
        return {}
    columns = ["path", "split", "label", "shard", *([PART.name] if dataset.parts else [])]
    table = dataset.manifest.select(columns).take(wanted)
    return {
        row: _shot(dataset, row, **entry)
        for row, entry in zip(wanted, table.to_pylist(), strict=True)
    }


def _shot(
    dataset: Dataset,
    row: int,
    *,
    path: str,
    split: str,
    label: str | None,
    shard: int | None,
    part: str | None = None,
) -> _Shot:
    # One row at a time: all of them at once would hold every full-size image in memory.
    image = None if shard is None else dataset.images(np.array([row], dtype=np.int64))[0]
    return _Shot(
        path=printable(path),
        name=_shorten(PurePosixPath(path).name, _LONGEST_NAME),
        part=part and _shorten(part, _LONGEST_NAME),
        split=_shorten(split, _LONGEST_NAME),
        label=_Piece(_shorten(label or "no label", _LONGEST_NAME), _tone(label)),
        uri=None if image is None else picture_uri(image),
    )


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """Return an image, (H, W, 1) or (H, W, 3), as a small one to put into a page."""
    return data_uri(pixels, longest=_THUMBNAIL)


# Figures


def _in_order(names: Iterable[str], order: Sequence[str] = EMOTIONS) -> tuple[str, ...]:
    """Sort names as ``order`` has them, unknown ones behind."""
    places = {name: place for place, name in enumerate(order)}
    return tuple(sorted(set(names), key=lambda name: (places.get(name, len(places)), name)))


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _balance(balance: Mapping[str, Mapping[str, int]]) -> _Balance:
    splits = _in_order(balance, SPLITS)
    totals = {split: sum(balance[split].values()) for split in splits}
    # One scale for all splits, so that bars can be compared across them.
    longest = max(
        (_share(count, totals[split]) for split in splits for count in balance[split].values()),
        default=0.0,
    )
    rows = []
    for emotion in _in_order(
        [*EMOTIONS, *(name for counts in balance.values() for name in counts)]
    ):
        parts = []
        for split in splits:
            count = balance[split].get(emotion, 0)
            share = _share(count, totals[split])
            parts.append(_Part(count, 100 * share, 100 * share / longest if longest else 0.0))
        rows.append((_Piece(_shorten(emotion, _LONGEST_NAME), _tone(emotion)), tuple(parts)))
    return _Balance(tuple(totals.items()), tuple(rows))


def _matrix(folders: Mapping[str, Mapping[str, int]]) -> _Matrix:
    labels = _in_order(label for counts in folders.values() for label in counts)
    rows = []
    for folder in _in_order(folders):
        counts, total = folders[folder], sum(folders[folder].values())
        cells = (
            _Cell(counts.get(label, 0), _share(counts.get(label, 0), total), folder == label)
            for label in labels
        )
        rows.append((folder, tuple(cells)))
    differing = Counter(
        {
            (folder, label): count
            for folder, counts in folders.items()
            for label, count in counts.items()
            if folder != label and count
        }
    )
    total = sum(sum(counts.values()) for counts in folders.values())
    return _Matrix(
        labels=labels,
        rows=tuple(rows),
        total=total,
        percent=100 * _share(differing.total(), total),
        worst=tuple((folder, label, n) for (folder, label), n in differing.most_common(3)),
    )


def _values(figures: ValueFigures) -> _Values:
    everything = tuple(map(sum, zip(*figures.counts.values(), strict=True)))
    cuts = _cuts(everything)
    strips = [_strip(_Piece("all", "e-all"), everything, cuts)] if everything else []
    for emotion in _in_order(figures.counts):
        label = _Piece(_shorten(emotion, _LONGEST_NAME), _tone(emotion))
        strips.append(_strip(label, figures.counts[emotion], cuts))
    bins = len(figures.edges) - 1
    quarters = sorted({round(bins * quarter / 4) for quarter in range(5)})
    return _Values(
        name=figures.name.replace("_", " "),
        says=figures.says,
        bins=bins,
        ticks=tuple((100 * edge / bins, _figure(figures.edges[edge])) for edge in quarters),
        cuts=tuple((edge, _figure(figures.edges[edge])) for edge in cuts),
        strips=tuple(strips),
    )


def _cuts(counts: Sequence[int]) -> tuple[int, ...]:
    """Return the inner edges below which about the shares `_THRESHOLDS` of all images lie."""
    below = list(accumulate(counts, initial=0))
    inner = range(1, len(counts))
    if not inner or not below[-1]:
        return ()
    return tuple(
        sorted({min(inner, key=lambda edge: abs(below[edge] / below[-1] - t)) for t in _THRESHOLDS})
    )


def _strip(label: _Piece, counts: Sequence[int], cuts: Sequence[int]) -> _Strip:
    total, highest = sum(counts), max(counts, default=0)
    below = list(accumulate(counts, initial=0))
    # Every emotion is as high as its own fullest bin: the rare ones would be flat lines otherwise.
    tops = [f"V{100 - 100 * _share(count, highest):.4g}H{x}" for x, count in enumerate(counts, 1)]
    return _Strip(
        label=label,
        total=total,
        outline=f"M0 100{''.join(tops)}V100Z",
        below=tuple(100 * below[cut] / total if total else None for cut in cuts),
    )
