"""Tests of the dataset folder: written, opened, damaged."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mien.data import writer as module
from mien.data.dataset import MANIFEST_SCHEMA, Dataset, origins
from mien.data.writer import DatasetWriter, content_hash, new_folder, sample_id
from mien.errors import DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec
from mien.records import Box, Sample, Split

SPEC = InputSpec(size=16, channels=3)
RANDOM = np.random.default_rng(8)
IMAGES = RANDOM.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)


def _write(out: Path, samples: list[Sample | None] | None = None) -> dict[str, Any]:
    """Ten images and, in the middle, one row without; samples given replace the first ones."""
    with new_folder(out) as folder:
        values = tuple(samples[0].values) if samples and samples[0] else ()
        writer = DatasetWriter(folder, source_format="folder", spec=SPEC, values=values)
        for i, image in enumerate(IMAGES):
            split: Split = "train" if i < 7 else "valid" if i < 8 else "test"
            sample = Sample(f"{i}.png", split, EMOTIONS[i % 3])
            if samples and i < len(samples):
                sample = samples[i] or sample
            writer.add(sample, image, sha256=content_hash(image), width=16, height=16)
            if i == 4:
                writer.add(Sample("broken.png", "valid", "fear", excluded="unreadable: x"), None)
        return writer.finish(source="somewhere", notes=["a note"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path / "dataset")
    return tmp_path / "dataset"


WITH_IMAGE = np.array([0, 1, 2, 3, 4, 6, 7, 8, 9, 10])
"""The manifest's rows that have an image, in the order of IMAGES."""


def test_what_is_written_comes_back(folder: Path) -> None:
    dataset = Dataset.open(folder)
    assert len(dataset) == 11
    assert dataset.spec == SPEC
    assert dataset.emotions == ("neutral", "happiness", "sadness")
    assert dataset.usable("train").tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert dataset.usable("valid").tolist() == [8]
    assert dataset.usable("test").tolist() == [9, 10]
    assert dataset.column("path")[5] == "broken.png"
    assert dataset.column("shard")[5] is None
    np.testing.assert_array_equal(dataset.images(WITH_IMAGE), IMAGES)


def test_manifest_has_exactly_the_schema(folder: Path) -> None:
    schema = pq.read_schema(folder / "manifest.parquet")
    assert schema.names == MANIFEST_SCHEMA.names
    assert schema.types == MANIFEST_SCHEMA.types
    for written, expected in zip(schema, MANIFEST_SCHEMA, strict=True):
        description = expected.metadata[b"description"]
        assert description
        assert written.metadata[b"description"] == description


def test_description(tmp_path: Path) -> None:
    info = _write(tmp_path / "d")
    assert json.loads((tmp_path / "d/dataset.json").read_text(encoding="utf-8")) == info
    assert info["counts"] == {
        "train": {"neutral": 3, "happiness": 2, "sadness": 2},
        "valid": {"happiness": 1},
        "test": {"neutral": 1, "sadness": 1},
    }
    assert info["excluded"] == {"train": {}, "valid": {"unreadable: x": 1}, "test": {}}
    assert (info["rows"], info["source"], info["notes"]) == (11, "somewhere", ["a note"])


@pytest.mark.parametrize(
    ("first", "same"),
    [
        pytest.param(None, True, id="nothing-changed"),
        pytest.param(Sample("0.png", "train", "anger"), False, id="other-label"),
        pytest.param(Sample("0.png", "valid", "neutral"), False, id="other-split"),
        pytest.param(Sample("z.png", "train", "neutral"), False, id="other-path"),
        pytest.param(Sample("0.png", "train", "neutral", excluded="no"), False, id="excluded"),
        pytest.param(
            Sample("0.png", "train", "neutral", votes=(1.0, *(0.0,) * 7)), False, id="votes"
        ),
        pytest.param(
            Sample("0.png", "train", "neutral", box=Box(1, 2, 3, 4)), False, id="other-box"
        ),
        pytest.param(
            Sample("0.png", "train", "neutral", values={"relFCs": 0.5}), False, id="other-number"
        ),
    ],
)
def test_fingerprint_tells_data_apart(tmp_path: Path, first: Sample | None, same: bool) -> None:
    plain, changed = _write(tmp_path / "plain"), _write(tmp_path / "changed", [first])
    assert (plain["fingerprint"] == changed["fingerprint"]) == same


@pytest.mark.parametrize("per_shard", [1, 3, 5, 9, 10, 11])
def test_images_come_in_any_order_across_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_shard: int
) -> None:
    monkeypatch.setattr(module, "_SHARD_BYTES", per_shard * IMAGES[0].nbytes)
    info = _write(tmp_path / "d")
    assert info["shards"] == -(-len(IMAGES) // per_shard)
    assert len(list((tmp_path / "d/images").iterdir())) == info["shards"]
    dataset = Dataset.open(tmp_path / "d")
    for order in ([9, 0, 5, 5, 2], list(range(10))[::-1], [7], []):
        asked = np.array(order, dtype=np.int64)
        found = dataset.images(WITH_IMAGE[asked])
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, IMAGES[asked])


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """Allow this process twenty open files beside those that it has."""
    resource = pytest.importorskip("resource")  # Windows has none
    limit, kept = resource.setrlimit, resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open() as next_file:
        limit(resource.RLIMIT_NOFILE, (next_file.fileno() + 20, kept[1]))
    yield
    limit(resource.RLIMIT_NOFILE, kept)


@pytest.mark.usefixtures("few_open_files")
@pytest.mark.parametrize("raised", [True, False], ids=["raised", "refused"])
def test_more_shards_than_files_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: bool
) -> None:
    monkeypatch.setattr(module, "_SHARD_BYTES", 1)
    with new_folder(tmp_path / "d") as folder:
        writer = DatasetWriter(folder, source_format="folder", spec=InputSpec(size=16))
        for number in range(100):
            image = np.full((16, 16, 1), number, np.uint8)
            writer.add(Sample(f"{number}.png", "train", "fear"), image, sha256=str(number))
        writer.finish(source="somewhere")
    if raised:
        assert Dataset.open(tmp_path / "d").images(np.arange(100))[:, 0, 0, 0].tolist() == [
            *range(100)
        ]
    else:

        def refuse(*_: object) -> None:
            raise ValueError

        monkeypatch.setattr("resource.setrlimit", refuse)
        with pytest.raises(DatasetError, match="its 100 shards need an open file each"):
            Dataset.open(tmp_path / "d")


def test_a_row_without_an_image_gives_no_other_image(folder: Path) -> None:
    with pytest.raises(DatasetError, match="without an image"):
        Dataset.open(folder).images(np.array([0, 5]))


def test_labels_in_the_order_asked_for(folder: Path) -> None:
    dataset = Dataset.open(folder)
    rows = np.array([2, 0, 1])
    assert dataset.labels(rows, ("neutral", "happiness", "sadness")).tolist() == [2, 0, 1]
    assert dataset.labels(rows, ("sadness", "neutral", "happiness")).tolist() == [0, 1, 2]
    assert dataset.labels(rows[:0], EMOTIONS).dtype == np.int64
    with pytest.raises(DatasetError, match="outside neutral, fear came up: 1 sadness, 1 happiness"):
        dataset.labels(rows, ("neutral", "fear"))


@pytest.mark.parametrize(
    ("votes", "emotions", "expected"),
    [
        pytest.param((), ("neutral", "fear"), [1, 0], id="label-without-votes"),
        pytest.param(
            (0.5, 0, 0, 0, 0.5, 0, 0, 0), ("neutral", "fear"), [0.5, 0.5], id="votes-as-they-are"
        ),
        pytest.param(
            (0.5, 0, 0.3, 0, 0.2, 0, 0, 0),
            ("fear", "neutral"),
            [2 / 7, 5 / 7],
            id="votes-of-others-left-out",
        ),
        pytest.param(
            (0, 0, 1.0, 0, 0, 0, 0, 0), ("neutral", "fear"), [1, 0], id="no-vote-for-any-asked"
        ),
    ],
)
def test_targets(
    tmp_path: Path, votes: tuple[float, ...], emotions: tuple[str, ...], expected: list[float]
) -> None:
    _write(tmp_path / "d", [Sample("0.png", "train", "neutral", votes=votes)])
    targets = Dataset.open(tmp_path / "d").targets(np.array([0]), emotions)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets, [expected], atol=1e-6)


def test_box_comes_back(tmp_path: Path) -> None:
    _write(tmp_path / "d", [Sample("0.png", "train", "fear", box=Box(1, 2, 3.5, 4))])
    assert Dataset.open(tmp_path / "d").column("box")[:2] == [[1, 2, 3.5, 4], None]


@pytest.mark.parametrize("name", ["ümläut/ 😀.png", "not-utf-8-\udcff.png"])
def test_any_path_can_be_written(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "d", [Sample(name, "train", "fear")])
    assert Dataset.open(tmp_path / "d").column("path")[0] == name.replace("\udcff", "?")


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    none: list[Sample | None] = [
        Sample(f"{i}.png", "train", "fear", excluded="blurred" if i else "dark") for i in range(10)
    ]
    with pytest.raises(DatasetError, match=r"none of 11 rows is usable \(9 blurred; 1 "):
        _write(tmp_path / "d", none)
    assert list(tmp_path.iterdir()) == []


# --- hashes and ids -----------------------------------------------------------------------------


def test_sample_id_is_the_documented_hash() -> None:
    expected = hashlib.sha256(b"ferplus/FER2013Train/a.png").hexdigest()[:16]
    assert sample_id("ferplus", "FER2013Train/a.png") == expected
    assert sample_id("folder", "FER2013Train/a.png") != expected


GREY = IMAGES[0, ..., 0]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(GREY.copy(), True, id="copy"),
        pytest.param(np.repeat(GREY[..., None], 3, axis=2), True, id="three-equal-channels"),
        pytest.param(GREY[..., None], True, id="one-channel"),
        pytest.param(np.asfortranarray(GREY), True, id="other-layout-in-memory"),
        pytest.param(GREY[:, ::-1], False, id="mirrored"),
        pytest.param(GREY.reshape(8, 32), False, id="other-shape"),
        pytest.param(IMAGES[0], False, id="colour"),
        pytest.param(np.stack([GREY, GREY, GREY[::-1]], axis=2), False, id="a-third-channel"),
        pytest.param(GREY ^ np.eye(16, dtype=np.uint8), False, id="one-grey-value"),
    ],
)
def test_content_hash(other: NDArray[np.uint8], same: bool) -> None:
    assert (content_hash(other) == content_hash(GREY)) == same


# --- new_folder ---------------------------------------------------------------------------------


def test_new_folder_appears_only_when_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as partial:
        (partial / "x").write_text("x", encoding="utf-8")
        assert not out.exists()
    assert [p.name for p in out.iterdir()] == ["x"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_new_folder_leaves_nothing_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(out: Path) -> None:
        with new_folder(out) as partial:
            (partial / "x").write_text("x", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_new_folder_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / ".out.0123abcd.partial").mkdir()
    (tmp_path / ".out.0123abcd.partial" / "old").write_text("x", encoding="utf-8")
    with new_folder(tmp_path / "out") as partial:
        assert list(partial.iterdir()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_names_what_was_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as raised, new_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(tmp_path / "out")


def test_a_new_folder_clears_nothing_of_another_name(tmp_path: Path) -> None:
    with new_folder(tmp_path / "faces.v2"), new_folder(tmp_path / "faces") as other:
        (other / "a").write_text("x", encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces", "faces.v2"]


def test_two_new_folders_at_once_are_never_mixed(tmp_path: Path) -> None:
    def write_two() -> None:
        with new_folder(tmp_path / "out") as first:
            (first / "a").write_text("first", encoding="utf-8")
            with new_folder(tmp_path / "out") as second:
                (second / "b").write_text("second", encoding="utf-8")
            (first / "c").write_text("first", encoding="utf-8")

    with pytest.raises(DatasetError, match="another command began to write there"):
        write_two()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b"]


@pytest.mark.parametrize("kind", ["file", "full-folder"])
def test_new_folder_overwrites_nothing(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("precious", encoding="utf-8")
    else:
        out.mkdir()
        (out / "precious").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"), new_folder(out):
        pass
    assert out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["empty-folder", "dot", "link-to-empty-folder"])
def test_new_folder_may_be_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    out = real
    if kind == "dot":
        monkeypatch.chdir(real)
        out = Path()
    elif kind == "link-to-empty-folder":
        out = tmp_path / "link"
        out.symlink_to(real)
    with new_folder(out) as partial:
        (partial / "x").write_text("x", encoding="utf-8")
    assert (real / "x").read_text(encoding="utf-8") == "x"


# --- damage -------------------------------------------------------------------------------------

Damage = Callable[[Path], object]


def _info(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "dataset.json"
        info = json.loads(file.read_text(encoding="utf-8")) | changes
        kept = {key: value for key, value in info.items() if value != "REMOVE"}
        file.write_text(json.dumps(kept), encoding="utf-8")

    return damage


def _column(name: str, change: Callable[[list[Any]], list[Any]], kind: Any = None) -> Damage:
    def damage(folder: Path) -> None:
        table = pq.read_table(folder / "manifest.parquet")
        place = table.schema.get_field_index(name)
        values = change(table.column(name).to_pylist())
        array = pa.array(values, kind or table.schema.field(name).type)
        pq.write_table(table.set_column(place, name, array), folder / "manifest.parquet")

    return damage


def _drop(name: str) -> Damage:
    def damage(folder: Path) -> None:
        table = pq.read_table(folder / "manifest.parquet").drop_columns([name])
        pq.write_table(table, folder / "manifest.parquet")

    return damage


def _shard(array: NDArray[Any]) -> Damage:
    return lambda folder: np.save(folder / "images/shard-00000.npy", array)


def _cut(name: str, size: int) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def _folder_for_file(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


SHARD = "images/shard-00000.npy"

DAMAGES: dict[str, tuple[Damage, str]] = {
    "no-folder": (shutil.rmtree, "no dataset.json here; expected a dataset folder"),
    "no-json": (lambda f: (f / "dataset.json").unlink(), "no dataset.json here"),
    "json-is-a-folder": (_folder_for_file("dataset.json"), "cannot be read"),
    "broken-json": (_cut("dataset.json", 40), "dataset.json cannot be read"),
    "json-of-another-kind": (
        lambda f: (f / "dataset.json").write_text("[1]", encoding="utf-8"),
        "dataset format None",
    ),
    "json-not-utf-8": (
        lambda f: (f / "dataset.json").write_bytes(b'{"a": "\xff"}'),
        "dataset.json cannot be read",
    ),
    "newer-version": (_info(format_version=3), "dataset format 3, this mien reads 2"),
    "no-version": (_info(format_version="REMOVE"), "dataset format None"),
    "no-fingerprint": (_info(fingerprint="REMOVE"), "lacks fingerprint"),
    "no-shards-no-labels": (_info(shards="REMOVE", labels="REMOVE"), "lacks labels, shards"),
    "size-out-of-range": (_info(image_size=4), "size 4"),
    "size-is-text": (_info(image_size="16"), "damaged dataset"),
    "size-lies": (_info(image_size=32), r"holds uint8 .*expected uint8 \(n, 32, 32, 3\)"),
    "channels-lie": (_info(image_channels=1), r"expected uint8 \(n, 16, 16, 1\)"),
    "two-channels": (_info(image_channels=2), "channels 2"),
    "more-shards": (_info(shards=2), "shard-00001.npy"),
    "no-shard-counted": (_info(shards=0), "images that its shards do not hold"),
    "negative-shards": (_info(shards=-1), "images that its shards do not hold"),
    "shards-null": (_info(shards=None), "damaged dataset"),
    "no-manifest": (lambda f: (f / "manifest.parquet").unlink(), "manifest.parquet"),
    "manifest-cut": (_cut("manifest.parquet", 300), "damaged dataset"),
    "manifest-empty": (_cut("manifest.parquet", 0), "damaged dataset"),
    "column-missing": (_drop("votes"), "the manifest lacks votes"),
    "column-of-another-type": (
        _column("shard", lambda v: ["x"] * len(v), pa.string()),
        "column 'shard' of the manifest is string, expected int32",
    ),
    "shard-missing": (lambda f: (f / SHARD).unlink(), "shard-00000.npy"),
    "shard-empty": (_cut(SHARD, 0), "damaged dataset"),
    "shard-header-cut": (_cut(SHARD, 30), "damaged dataset"),
    "shard-cut": (_cut(SHARD, 3000), "damaged dataset"),
    "shard-is-text": (lambda f: (f / SHARD).write_text("x" * 99, "utf-8"), "damaged dataset"),
    "shard-pickled": (_shard(np.array([{}], dtype=object)), "damaged dataset"),
    "shard-of-another-type": (_shard(IMAGES.astype(np.float32)), "holds float32"),
    "shard-of-another-shape": (_shard(IMAGES[:, :8]), r"holds uint8 \(10, 8, 16, 3\)"),
    "shard-shorter": (_shard(IMAGES[:9]), "images that its shards do not hold"),
    "row-beyond-shard": (_column("row", lambda v: [10, *v[1:]]), "do not hold"),
    "row-negative": (_column("row", lambda v: [-1, *v[1:]]), "do not hold"),
    "row-missing": (_column("row", lambda v: [None, *v[1:]]), "do not hold"),
    "shard-beyond": (_column("shard", lambda v: [1, *v[1:]]), "do not hold"),
    "shard-negative": (_column("shard", lambda v: [-3, *v[1:]]), "do not hold"),
    "used-row-without-image": (_column("excluded", lambda v: [None] * len(v)), "do not hold"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_error(folder: Path, name: str) -> None:
    damage, says = DAMAGES[name]
    damage(folder)
    with pytest.raises(DatasetError, match=says) as caught:
        Dataset.open(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_harmless_changes_are_no_damage(folder: Path) -> None:
    _info(something_newer=[1, 2])(folder)
    table = pq.read_table(folder / "manifest.parquet")
    extra = pa.array(["x"] * len(table))
    pq.write_table(table.append_column("extra", extra), folder / "manifest.parquet")
    np.testing.assert_array_equal(Dataset.open(folder).images(WITH_IMAGE[:1]), IMAGES[:1])


def test_origins_are_told_of_parts_of_parts_and_of_what_they_were_cleaned_from() -> None:
    mine = {"fingerprint": "m", "source_format": "csv", "cleaned": [{"from": "m0"}, {"from": "m1"}]}
    fer = {"fingerprint": "f", "source_format": "ferplus"}
    both = {"fingerprint": "b", "source_format": "join", "parts": [mine, fer]}
    other = {"fingerprint": "o", "source_format": "kdef", "cleaned_from": ["o0"]}
    whole = {"fingerprint": "w", "source_format": "join", "parts": [both, other]}
    found = origins(whole | {"cleaned": [{"from": "w0"}]})
    assert found == {
        "parts": [
            {"fingerprint": "m", "source_format": "csv"},
            {"fingerprint": "f", "source_format": "ferplus"},
            {"fingerprint": "o", "source_format": "kdef"},
        ],
        "cleaned_from": ["m0", "m1", "o0", "w0"],
        "cleaned": [{"from": "w0"}],
    }
    assert origins({**fer, **found}) == found
    assert origins(fer) == {}


def test_a_split_that_is_none_is_told(ferplus_dataset: Dataset) -> None:
    for wrong in ("val", "Train", ""):
        with pytest.raises(
            UsageError, match=f"split '{wrong}': expected one of train, valid, test"
        ):
            ferplus_dataset.usable(wrong)  # type: ignore[arg-type]
    assert repr(ferplus_dataset).endswith("48x48 grey>")
    nobody = [None] * len(ferplus_dataset)
    assert len({ferplus_dataset, ferplus_dataset.with_column("subject", nobody)}) == 2
