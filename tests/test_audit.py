"""Tests of the audit: each kind planted in drawn faces is found, and nothing else."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from filmed import person
from mien import cli
from mien.data.audit.auditor import audit_dataset
from mien.data.audit.findings import KINDS, Audit
from mien.data.audit.measures import measure
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.drawn import draw_face, draw_portrait, sample_parameters
from mien.images import read_image, write_image
from mien.labels import EMOTIONS

Image = np.typing.NDArray[np.uint8]


def _face(number: int) -> Image:
    return draw_face(sample_parameters(EMOTIONS[number % 8], seed=300 + number), size=64)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Forty faces with a table, and one of every defect."""
    root = tmp_path_factory.mktemp("planted") / "source"
    rows = []

    def add(path: str, pixels: Image, label: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / path, pixels)
        rows.append(f"{path},{label}")

    for number in range(40):
        emotion = EMOTIONS[number % 8]
        split = "test" if number >= 32 else "train"
        add(f"{split}/{emotion}/{number:02d}.png", _face(number), emotion)
    first = _face(0)
    add("train/neutral/copy.png", first, "neutral")
    add("test/fear/leak.png", _face(4), "fear")
    add("train/anger/conflict.png", _face(6), "disgust")
    add("train/sadness/mirrored.png", _face(2)[:, ::-1], "sadness")
    add("train/neutral/flat.png", np.full((64, 64, 3), 130, np.uint8), "neutral")
    add(
        "train/neutral/dark.png",
        np.where(_face(41) > np.median(_face(41)), 50, 5).astype(np.uint8),
        "neutral",
    )
    add(
        "train/neutral/bright.png",
        np.where(_face(42) > np.median(_face(42)), 255, 205).astype(np.uint8),
        "neutral",
    )
    blurred = cv2.GaussianBlur(_face(43), (0, 0), 5.0).astype(np.uint8)
    add("train/neutral/blurred.png", blurred, "neutral")
    tiny = cv2.resize(_face(44), (20, 20), interpolation=cv2.INTER_AREA).astype(np.uint8)
    add("train/neutral/tiny.png", tiny, "neutral")
    add("train/neutral/bad.png", _face(45), "grumpy")
    rows.append("train/neutral/gone.png,neutral")
    (root / "train/neutral/broken.png").write_bytes(b"no image")
    rows.append("train/neutral/broken.png,neutral")
    (root / "labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    import_dataset("csv", root, root.parent / "dataset")
    return Dataset.open(root.parent / "dataset")


@pytest.fixture(scope="module")
def audit(planted: Dataset) -> Audit:
    return audit_dataset(planted)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("missing", {"gone.png"}),
        ("unreadable", {"broken.png"}),
        ("bad_label", {"bad.png"}),
        ("duplicate", {"copy.png", "00.png", "leak.png", "04.png", "conflict.png", "06.png"}),
        ("near_duplicate", {"mirrored.png", "02.png"}),
        ("label_conflict", {"conflict.png", "06.png"}),
        ("flat", {"flat.png"}),
        ("dark", {"dark.png"}),
        ("bright", {"bright.png"}),
        ("tiny", {"tiny.png"}),
    ],
)
def test_planted_defects_are_found_and_no_others(audit: Audit, kind: str, names: set[str]) -> None:
    found = {Path(path).name for finding in audit.of_kind(kind) for path in finding.paths}
    assert found == names


def test_blurred_is_found(audit: Audit) -> None:
    found = {Path(path).name for finding in audit.of_kind("blurred") for path in finding.paths}
    # A face enlarged from 20 pixels, or one of flat paint, may lack detail as well.
    assert "blurred.png" in found
    assert found <= {"blurred.png", "tiny.png"}


def test_json_is_what_the_contract_says(audit: Audit) -> None:
    written = json.loads(json.dumps(audit.to_json(), allow_nan=False))
    assert written["summary"] == audit.summary
    assert set(audit.summary) == set(audit.checked) <= set(KINDS)
    for finding in written["findings"]:
        assert finding["kind"] in KINDS
        assert finding["paths"]


def test_closed_leak_says_so(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("train", 2), ("valid", 3), ("test", 1), ("test", 4)):
        folder = tmp_path / "s" / split / EMOTIONS[number % 8]
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{number}.png", _face(number))
    import_dataset("folder", tmp_path / "s", tmp_path / "d")
    (leak,) = audit_dataset(Dataset.open(tmp_path / "d")).of_kind("leak")
    assert leak.evidence == {
        "by": "same pixels",
        "splits": ["train", "test"],
        "excluded_already": True,
    }
    assert {path.partition("/")[0] for path in leak.paths} == {"train", "test"}


def test_values_count_every_usable_image(audit: Audit, planted: Dataset) -> None:
    used = sum(sum(counts.values()) for counts in planted.info["counts"].values())
    for figures in audit.values:
        assert len(figures.edges) == 25
        assert sum(sum(counts) for counts in figures.counts.values()) == used


def test_numbers_that_make_no_bins_and_names_that_are_measures(tmp_path: Path) -> None:
    lines = ["path,label,account,far,brightness"]
    for number in range(8):
        write_image(tmp_path / f"{number}.png", _face(number))
        far = 1.5e308 * (-1) ** number
        lines.append(f"{number}.png,{EMOTIONS[number % 2]},17841405793187218,{far},{number}")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset("csv", tmp_path, tmp_path / "dataset")
    values = audit_dataset(Dataset.open(tmp_path / "dataset")).to_json()["values"]
    for name in ("account", "far"):
        assert sum(map(sum, values[name]["counts"].values())) == 8
    assert values["brightness of the source"]["edges"][-1] == 7
    assert values["brightness"]["edges"][-1] > 50


@pytest.mark.parametrize(("level", "share"), [(0, 1.0), (128, 1.0)])
def test_one_colour_has_one_component(level: int, share: float) -> None:
    found = measure(np.full((1, 48, 48), level, np.uint8))
    assert found["first_component"][0] == pytest.approx(share, abs=1e-4)
    assert found["contrast"][0] == 0


def test_first_component_is_its_formula() -> None:
    image = np.random.default_rng(4).integers(0, 256, (1, 48, 48), dtype=np.uint8)
    singular = np.linalg.svd(image[0].astype(float), compute_uv=False)
    found = measure(image)["first_component"][0]
    assert found == pytest.approx(singular[0] / singular.sum(), rel=1e-6)


def test_command_writes_page_and_json(
    tmp_path: Path,
    planted: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, file = tmp_path / "out", tmp_path / "out" / "json" / "a.json"
    arguments = ["data", "audit", str(planted.path), "--out", str(out), "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["mien", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in {0, None}
    assert json.loads(file.read_text())["summary"]["unreadable"] == 1
    assert "<html" in (out / "audit.html").read_text(encoding="utf-8")
    assert "near_duplicate" in capsys.readouterr().out


def test_thumbnail_source_is_untouched(planted: Dataset) -> None:
    source = Path(planted.info["source"])
    assert read_image(source / "train/neutral/flat.png").mean() == 130


def test_of_near_copies_one_with_another_label_is_shown_beside(tmp_path: Path) -> None:
    portrait = draw_portrait(person(5), size=96)
    brighter = [np.clip(portrait * by, 0, 255).astype(np.uint8) for by in (1.01, 1.1)]
    others = [draw_portrait(person(seed), size=96) for seed in range(6, 12)]
    for path, pixels in (
        *zip(("happy/a.png", "happy/b.png", "sad/c.png"), (portrait, *brighter), strict=True),
        *((f"sad/{number}.png", other) for number, other in enumerate(others)),
    ):
        (tmp_path / "s" / path).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "s" / path, pixels)
    import_dataset("folder", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    paths = dataset.column("path")
    likest = audit_dataset(dataset).likest[paths.index("happy/a.png")]
    assert paths[likest.row] == "sad/c.png"
