"""A model's card for people: one Markdown page, made of its file's card and measured figures.

Follows Mitchell et al. 2019 (Model Cards for Model Reporting): what it is for and not for, the data
and who is missing from it, figures with their uncertainty, limits. Computes nothing.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, StrictUndefined

from mien.metrics import BINS
from mien.pages import percent

if TYPE_CHECKING:
    from mien.judging.evaluate import Report

__all__ = ["render_model_card"]

_GROUPS: Final = 40

_WEB_SEARCH: Final = (
    "The pictures of FER2013 (Goodfellow et al. 2013) came from a web search for 184 words of "
    "emotion with words for gender, age and ethnicity, were cut out by a face detector and scaled "
    "to 48x48 grey pixels. Nobody recorded who is shown: age, gender, skin and origin are unknown, "
    "so nothing can be said of how well each group is read, and whoever was rare in a search of "
    "2013, or missed by its detector, is rare here: faces turned aside, covered, very old or very "
    "young ones among them. Many expressions are posed."
)
_ORIGINS: Final = {
    "ferplus": (
        _WEB_SEARCH,
        "FER+ (Barsoum et al. 2016) had ten people vote on each picture; the votes are the "
        "targets.",
    ),
    "fer2013": (_WEB_SEARCH, "FER2013 itself gives each one label, many of them wrong."),
    "affectnet": (
        "AffectNet (Mollahosseini et al. 2017): pictures of a web search in six languages, one "
        "annotator each; two of them agreed on 61 % of a sample. Age, gender, skin and origin are "
        "not recorded.",
    ),
}


def render_model_card(report: "Report") -> str:
    """Return the page as Markdown.

    Args:
        report: of the split whose figures are told; with environments if they were measured.
    """
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update({"percent": percent, "cell": _cell})
    card, figures = report.card, report.evaluation
    data = card.training.get("dataset")
    whole = data or report.dataset
    formats = list(dict.fromkeys(part["source_format"] for part in whole.get("parts", [whole])))
    conditions: dict[str, list[dict[str, float]]] = (report.environments or {}).get(
        "conditions", {}
    )
    strengths = [entry["strength"] for entry in next(iter(conditions.values()), [])]
    template = files("mien").joinpath("judging/model_card.md.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        card=card,
        data=data,
        before=next(iter(card.training.get("started_from", ())), None),
        averaged=card.training.get("averaged"),
        taught_by=_teachers(card.training),
        joined_of=formats if "parts" in whole else (),
        cleaned=[told for step in whole.get("cleaned", ()) for told in _told_of(step)],
        where=card.training.get("recipe", {}).get("where", ()),
        origin=_origin(formats),
        report=report,
        figures=figures,
        most_groups=_GROUPS,
        counts=figures.confusion.sum(axis=1).tolist(),
        bins=BINS,
        strengths=[f"strength {strength:.2g}" for strength in strengths],
        weak=[
            f"{emotion} ({100 * recall:.0f} %)"
            for emotion, recall in figures.recall.items()
            if recall is not None and recall < 0.5
        ],
        absent=[emotion for emotion, recall in figures.recall.items() if recall is None],
    )


def _cell(text: str) -> str:
    """Write a name as a cell of a table, which no sign in it ends and no HTML fills."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def _told_of(step: Mapping[str, Any]) -> Iterator[str]:
    """Say what one cleaning did, a rule each; ``step`` as `mien.data.clean` notes it."""
    if decided := step.get("decisions"):
        kept = decided["keep"] + decided.get("apart", 0)
        yield (
            f"of {sum(decided.values()):,} looked at by eye {kept:,} kept their label, "
            f"{decided['relabel']:,} got another, {decided['drop']:,} were left out"
        )
    if source := step.get("label_from"):
        yield f"labels were taken from the {source}"
    for old, new in step.get("merge", {}).items():
        yield f"{old} counts as {new}"
    for name, says in (
        ("without", "without"),
        ("where", "only where"),
        ("drop", "dropped as found:"),
    ):
        if values := step.get(name):
            yield f"{says} {', '.join(values)}"
    if shares := step.get("split"):
        yield f"splits were drawn anew, {'/'.join(f'{share:g}' for share in shares)}"


def _origin(formats: Sequence[str]) -> str:
    """Say where pictures of some formats come from; what several share, once."""
    told: dict[str, None] = {}
    unknown = []
    for name in formats:
        if known := _ORIGINS.get(name.partition("-")[0]):
            told |= dict.fromkeys(known)
        else:
            unknown.append(f"`{name}`")
    if unknown:
        data = "this data" if len(formats) == 1 else f"the data in the format {', '.join(unknown)}"
        told[
            f"Who is shown in {data} is not known to mien: whoever publishes the model should say "
            "how the pictures were gathered, with whose consent, who labelled them, and who is "
            "missing."
        ] = None
    return " ".join(told)


def _teachers(training: Mapping[str, Any]) -> list[str]:
    """Return the names of what taught a model, or the runs that it is the mean of."""
    own = [teacher["model"] for teacher in training.get("taught_by", ())]
    of_parts = [name for run in training.get("averaged", ()) for name in run.get("taught_by", ())]
    return list(dict.fromkeys(own + of_parts))
