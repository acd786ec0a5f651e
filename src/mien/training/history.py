"""What every epoch of a run found: ``history.jsonl`` in its folder, a line of JSON an epoch."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mien.atomic import write_text
from mien.errors import ModelError

__all__ = ["read_history", "write_history"]

_NAME = "history.jsonl"


def read_history(run: Path) -> list[dict[str, Any]]:
    """Return an entry for each whole epoch; none where the folder is no run.

    Raises:
        ModelError: the file is damaged.
    """
    file = run / _NAME
    if not file.exists():
        return []
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise ModelError(
            f"{file}: damaged ({error}); 'mien train --resume' writes it anew"
        ) from None


def write_history(run: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write all entries anew, whole or not at all."""
    write_text(run / _NAME, "".join(json.dumps(entry) + "\n" for entry in entries))
