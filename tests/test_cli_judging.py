"""`mien eval` as people and scripts use it, with all that it tells when asked for more."""

import json
from pathlib import Path

from PIL import Image

from commands import Command
from mien.data.dataset import Dataset
from mien.environments import CONDITIONS
from mien.labels import EMOTIONS


def test_eval_judges_groups_and_environments_too(
    mien: Command, ferplus_dataset: Dataset, tmp_path: Path
) -> None:
    ran = mien(
        *("eval", "nano", "--data", ferplus_dataset.path, "--out", tmp_path),
        *("--by", "label", "--by", "split", "--environments"),
    )
    assert ran.status == 0
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert {value: of["n"] for value, of in written["by"]["label"].items()} == dict.fromkeys(
        EMOTIONS, 3
    )
    assert written["by"]["split"]["test"]["n"] == 24
    found = written["environments"]
    assert (found["n"], list(found["conditions"])) == (24, list(CONDITIONS))
    middle = found["middle"]
    lines = ran.out.splitlines()
    (told,) = (line for line in lines if line.startswith("at the middle strength "))
    assert f" {middle['mean_share_of_clean']:.1%} of the clean accuracy is left" in told
    worst = middle["worst"].replace("_", " ")
    assert f"{worst} leaves {middle['worst_share_of_clean']:.1%}" in told
    assert f"changes {found['flips']:.1%} of the answers" in told
    for name, strengths in found["conditions"].items():
        shown = [f"{entry['accuracy']:.1%}" for entry in strengths]
        nll = f"{strengths[1]['nll']:.3f}"
        assert [*name.split("_"), *shown, nll] in [line.split() for line in lines]
    for name in ("environments.png", "conditions.png"):
        assert f"wrote {tmp_path / name}" in ran.err
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 400
