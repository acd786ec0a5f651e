"""What to repair in a dataset: rules that are checked when made, from Python or a TOML file."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mien.data.audit.findings import KINDS
from mien.data.audit.suspects import SUSPECT
from mien.data.conditions import Condition
from mien.errors import UsageError, first_problem, one_of
from mien.labels import canonical

__all__ = ["Rules", "read_rules"]


@dataclass(frozen=True)
class Rules:
    """What to repair, in the order in which it is done.

    Attributes:
        label_from: whose label counts where there is another than the table's: the ``folder``, the
            largest of the ``votes``, or the ``model``, which is networks that were not trained on
            the image; None: the table's.
        confidence: how probable the model's emotion must be to count, 0..1.
        suspicion: how probable it must be that a label is wrong, 0..1, for ``label_suspect`` to
            drop it.
        merge: emotions that become others, ``{"contempt": "disgust"}``; votes follow.
        without: emotions whose rows go.
        where: conditions that every row must meet, ``relFCs<0.9``, ``gender=female``, of joined
            datasets ``part=mine``; rows without the value stay.
        drop: kinds of findings. Of duplicates and near duplicates one is kept that is in use, in
            the split that tests rather than in the one that learns; of a leak, what lies in that
            split stays; of all other kinds everything goes.
        split: the shares of train, valid and test to draw anew; None: splits stay.
        seed: another seed, another draw.

    Raises:
        UsageError: a kind, an emotion, a condition or a share is none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    label_from: Literal["folder", "votes", "model"] | None = None
    confidence: float = 0.9
    suspicion: float = SUSPECT
    merge: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    split: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.drop if kind not in KINDS]
        if unknown:
            raise UsageError(f"drop {', '.join(unknown)}: {one_of(KINDS, unknown[0])}")
        for name in ("confidence", "suspicion"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)}: expected 0 to 1")
        merged = {canonical(old): canonical(new) for old, new in self.merge.items()}
        again = sorted(set(merged) & set(merged.values()))
        if again:
            raise UsageError(f"merge: {', '.join(again)} cannot both go and receive others")
        object.__setattr__(self, "merge", merged)
        object.__setattr__(self, "without", tuple(canonical(name) for name in self.without))
        for condition in self.where:
            Condition.parse(condition)
        shares = self.split or (1.0,)
        if min(shares) < 0 or not 0 < sum(shares) < math.inf:
            raise UsageError(f"split {self.split}: expected three shares of 0 or more")

    @property
    def ask_networks(self) -> bool:
        """Whether they need out-of-fold predictions."""
        return self.label_from == "model" or "label_suspect" in self.drop


def read_rules(path: Path | None, given: Mapping[str, Any]) -> Rules:
    """Read rules from a TOML file with any of the keys of `Rules`, and put others over them.

    Args:
        path: the file; None: there is none.
        given: keys and values that count more than the file's; None and empty ones do not count.

    Raises:
        UsageError: the file cannot be read, a key is unknown or a value does not fit.
    """
    values = _read_toml(path) if path else {}
    values |= {key: value for key, value in given.items() if value not in (None, (), [], {})}
    try:
        return TypeAdapter(Rules).validate_python(values)
    except ValidationError as error:
        key, says = first_problem(error)
        came = error.errors()[0]["input"]
        known = ", ".join(f.name for f in fields(Rules))
        raise UsageError(
            f"{path or 'rules'}: {key} = {came!r}: {says}; expected keys {known}"
        ) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"rules {path}: not readable as TOML ({error})") from None
