"""A page to decide by eye what to do about an audit's findings, picture by picture.

Like the audit's own page it needs no other file and asks no one for anything. It runs one script,
which keeps what was decided in the browser and saves it as a csv for ``mien data clean
--decisions``. Paths and labels are taken for hostile: the script puts them in as text alone.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np
import pyarrow as pa

from mien.data.audit.findings import KINDS, Audit, Finding
from mien.data.audit.page import FILTERS, picture_uri, text_of
from mien.data.dataset import PART, Dataset
from mien.labels import ALIASES, EMOTIONS
from mien.pages import render

__all__ = ["render_review"]

_OF_PICTURES: Final = (
    "label_suspect",
    "label_conflict",
    "near_duplicate",
    "folder_label_disagree",
    "bad_label",
    "unlisted",
    "no_face",
    "flat",
    "dark",
    "bright",
    "blurred",
    "tiny",
)
"""Kinds that a look at the picture decides, in the order in which a look is worth most."""

_SHOWN_OTHERWISE: Final = frozenset({"label", "rather", "reason", "excluded_already", "mirrored"})


def render_review(audit: Audit, dataset: Dataset, *, per_kind: int = 1000) -> str:
    """Return an HTML page with the pictures of findings, and what can be decided of each.

    Args:
        audit: what was found.
        dataset: the dataset that was audited; the findings' rows are rows of its manifest.
        per_kind: how many pictures of each kind it holds at most, the worst.

    Returns:
        HTML that needs no other file.
    """
    kinds: list[dict[str, Any]] = []
    cards: dict[int, None] = {}
    ids, paths = dataset.column("id"), dataset.column("path")
    of_path = Counter(paths)
    for kind in _OF_PICTURES:
        found = list(_pictures(audit, kind, dataset))
        if not found:
            continue
        kept = found[:per_kind]
        cards |= dict.fromkeys(row for row, _ in kept)
        kinds.append(
            {
                "title": KINDS[kind].title,
                "says": KINDS[kind].says,
                "more": len(found) - len(kept),
                "pictures": [
                    {
                        "id": ids[row],
                        "rather": evidence.get("rather"),
                        "why": _in_words(evidence),
                        "like": ids[audit.likest[row].row] if row in audit.likest else None,
                    }
                    for row, evidence in kept
                ],
            }
        )
    shown = cards.keys() | {audit.likest[row].row for row in cards if row in audit.likest}
    told = {
        "fingerprint": dataset.info["fingerprint"],
        "emotions": EMOTIONS,
        "aliases": dict(ALIASES),
        "kinds": kinds,
        "rows": {row["id"]: row for row in _rows(dataset, sorted(shown))},
        "alone": [ids[row] for row in sorted(shown) if of_path[paths[row]] == 1],
    }
    script = (files("mien.data.audit") / "review.js").read_text(encoding="utf-8")
    return render(
        "data/audit/review.html.j2",
        FILTERS,
        name=dataset.name,
        pictures=len(cards),
        emotions=EMOTIONS,
        networks=audit.networks,
        suggests=any(picture["rather"] for kind in kinds for picture in kind["pictures"]),
        copies=not cards.keys().isdisjoint(audit.likest),
        # No "<" can end the element that holds it.
        told=json.dumps(told, ensure_ascii=False).replace("<", "\\u003c"),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _pictures(audit: Audit, kind: str, dataset: Dataset) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each row of a kind's findings that has an image once, with the evidence."""
    shards = dataset.column("shard")
    findings = audit.of_kind(kind)
    if kind == "near_duplicate":  # those that are least alike are the most doubtful
        findings = tuple(sorted(findings, key=lambda finding: finding.evidence["similarity"]))
    seen = set()
    for finding in findings:
        places = {row: place for place, row in enumerate(finding.rows, start=1)}
        for row in _to_decide(finding, audit):
            if shards[row] is not None and row not in seen:
                seen.add(row)
                copies, place = len(finding.rows), places[row]
                which = {"copy": f"{place} of {copies}"} if copies > 1 else {}
                own = {"similarity": audit.likest[row].similarity} if row in audit.likest else {}
                yield row, {**which, **finding.evidence, **own}


def _to_decide(finding: Finding, audit: Audit) -> Sequence[int]:
    """Return a finding's rows; of a pair of near copies one, which is shown beside the other."""
    if finding.kind != "near_duplicate":
        return finding.rows
    compared = [row for row in finding.rows if row in audit.likest]
    return compared[1:] if len(compared) == 2 else compared


def _in_words(evidence: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {text_of(value)}"
        for name, value in evidence.items()
        if value is not None and name not in _SHOWN_OTHERWISE
    )


def _rows(dataset: Dataset, rows: list[int]) -> Iterator[dict[str, Any]]:
    columns = ["id", "path", "split", "label", "excluded"]
    if dataset.parts:
        columns.append(PART.name)
    table = dataset.manifest.select(columns).take(pa.array(rows, pa.int64()))
    for row, told in zip(rows, table.to_pylist(), strict=True):
        # One row at a time: all of them at once would hold every full-size image in memory.
        image = dataset.images(np.array([row], dtype=np.int64))[0]
        yield {**told, "uri": picture_uri(image)}
