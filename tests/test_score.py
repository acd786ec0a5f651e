"""Scoring many images: every image once, whatever is killed; bad ones get their reason."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow import fs

import mien
import mien.score.plan
import mien.score.work
from mien.drawn import draw_face, sample_parameters
from mien.errors import DataError, UsageError
from mien.labels import EMOTIONS
from mien.model import load_model
from mien.places import locate, whole_file
from mien.score import SCHEMA, Job, Plan, plan_scores, run_parts, score_part, unreadable_in
from mien.score.plan import part_name
from mien.score.work import Tally

MIEN = [sys.executable, "-c", "from mien.cli import main; main()"]


@pytest.fixture(scope="module")
def model() -> bytes:
    return load_model("base").path.read_bytes()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.score.plan, "PART_IMAGES", 5)


def picture(number: int) -> bytes:
    face = draw_face(sample_parameters(EMOTIONS[number % 8], seed=number), size=48)
    out = io.BytesIO()
    Image.fromarray(face).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [picture(number) for number in range(12)]


@pytest.fixture
def folder(tmp_path: Path, pictures: list[bytes]) -> Path:
    """Twelve faces in two folders, a broken picture and a text."""
    root = tmp_path / "faces"
    for number, held in enumerate(pictures):
        path = root / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held)
    (root / "broken.jpg").write_bytes(b"no picture")
    (root / "notes.txt").write_text("not read")
    return root


def job_of(source: Path | str, **changes: Any) -> Job:
    return replace(Job(str(source), "image", "base", "f", "none", "none (Whole)"), **changes)


def run(plan: Plan, model: bytes, engine: str = "local") -> list[dict[str, Any]]:
    list(run_parts(plan, model, engine=engine, workers=2))
    rows: list[dict[str, Any]] = pq.read_table(plan.out).to_pylist()
    return rows


def test_a_folder_is_read_as_predict_does(folder: Path, tmp_path: Path, model: bytes) -> None:
    plan = plan_scores(job_of(folder), str(tmp_path / "out.parquet"))
    assert (plan.images, plan.sizes) == (13, (5, 5, 3))
    tallies = [score_part(plan, number, model) for number in plan.missing()]
    assert sum(tally.images for tally in tallies) == 13
    assert sum(tally.unreadable for tally in tallies) == 1
    assert plan.missing() == []
    table = pq.read_table(plan.out)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert sorted(row["source"] for row in rows) == sorted(map(str, folder.rglob("*.[pj]*g")))
    recogniser = mien.load(detector="none", threads=1)
    for row in rows:
        if row["source"].endswith("broken.jpg"):
            assert "not a readable image" in row["error"]
            assert row["faces"] == []
            continue
        (face,) = recogniser(row["source"])
        (found,) = row["faces"]
        assert (found["emotion"], found["box"]) == (face.emotion, list(face.box))
        assert dict(found["probabilities"]) == pytest.approx(face.probabilities, abs=1e-5)
        assert (row["width"], row["height"], row["error"], row["row"]) == (48, 48, None, None)


@pytest.mark.parametrize("form", ["bytes", "hugging-face"])
@pytest.mark.parametrize("address", [False, True])
def test_parquet_is_read_in_stretches(
    tmp_path: Path, pictures: list[bytes], model: bytes, form: str, address: bool
) -> None:
    held: list[Any] = [*pictures, None]
    if form == "hugging-face":
        held = [{"bytes": value, "path": "x.png"} for value in held]
    (tmp_path / "in").mkdir()
    table = pa.table({"id": range(13), "image": held})
    pq.write_table(table, tmp_path / "in" / "a.parquet", row_group_size=4)
    source = f"file://{tmp_path}/in" if address else str(tmp_path / "in")
    out = f"file://{tmp_path}/out" if address else str(tmp_path / "out")
    plan = plan_scores(job_of(source), out)
    assert plan.sizes == (5, 5, 3)
    for number in plan.missing():
        score_part(plan, number, model)
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert [row["row"] for row in rows] == list(range(13))
    assert "no bytes" in rows[12]["error"]
    (first,) = mien.load(detector="none", threads=1)(pictures[7])
    assert rows[7]["faces"][0]["emotion"] == first.emotion


def _with_damage(path: Path, pictures: list[bytes], at: int, **layout: Any) -> Path:
    """A table of pictures; the header of the page that begins with one of them is overwritten."""
    pq.write_table(
        pa.table({"image": pictures}), path, compression="none", use_dictionary=False, **layout
    )
    held = path.read_bytes()
    place = held.index(pictures[at])
    path.write_bytes(held[: place - 40] + b"\xff" * 40 + held[place:])
    return path


@pytest.mark.parametrize(
    ("layout", "lost"),
    [
        pytest.param({"row_group_size": 4}, range(4, 8), id="a-row-group"),
        pytest.param({"data_page_size": 1, "write_batch_size": 1}, range(7, 12), id="the-rest"),
    ],
)
def test_a_damaged_page_costs_its_own_rows(
    tmp_path: Path,
    pictures: list[bytes],
    model: bytes,
    monkeypatch: pytest.MonkeyPatch,
    layout: dict[str, int],
    lost: range,
) -> None:
    monkeypatch.setattr(mien.score.work, "_TOGETHER", 1)
    source = _with_damage(tmp_path / "a.parquet", pictures, lost.start, **layout)
    plan = plan_scores(job_of(source), str(tmp_path / "out"))
    tallies = [score_part(plan, number, model) for number in plan.missing()]
    assert sum(tally.unreadable for tally in tallies) == len(lost)
    rows = pq.read_table(plan.out).to_pylist()
    assert [row["row"] for row in rows] == list(range(12))
    assert [row["row"] for row in rows if row["error"]] == list(lost)
    for row in lost:
        assert f"not a readable file: {source} (" in rows[row]["error"]
        assert "thrift" in rows[row]["error"]


def test_a_row_group_with_fewer_rows_than_it_should_have() -> None:
    class Short:
        num_row_groups = 2

        @property
        def metadata(self) -> "Short":
            return self

        def row_group(self, _: int) -> Any:
            return type("Group", (), {"num_rows": 3})

        def iter_batches(self, *_: Any, row_groups: list[int], **__: Any) -> Iterator[Any]:
            held = [b"a", b"b"] if row_groups == [0] else [b"c", b"d", b"e", b"more"]
            yield pa.record_batch({"image": held})

    found = list(mien.score.work._table_images(Short(), "x.parquet", "image", 1, 8, bool))
    assert [row for _, row, _ in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [held for _, _, held in found if isinstance(held, bytes)] == [b"b", b"c", b"d", b"e"]
    for lost in (1, 5, 6):
        assert "x.parquet (fewer rows than it should have)" in str(found[lost][2])


@pytest.mark.parametrize(
    ("name", "answers"),
    [("a.parquet", 0), ("a.parquet", 1), ("a.png", 0)],
    ids=["at-opening", "within", "image"],
)
def test_a_store_that_does_not_answer_leaves_its_part_to_do(
    tmp_path: Path,
    pictures: list[bytes],
    model: bytes,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    answers: int,
) -> None:
    pq.write_table(pa.table({"image": pictures[:3]}), tmp_path / "a.parquet")
    (tmp_path / "a.png").write_bytes(pictures[0])
    plan = plan_scores(job_of(tmp_path / name), str(tmp_path / "out"))

    class Away:
        def __init__(self) -> None:
            self.left = answers

        def open_input_file(self, path: bytes) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OSError("AWS Error NETWORK_CONNECTION")
            return fs.LocalFileSystem().open_input_file(path)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("AWS Error NETWORK_CONNECTION")

    with monkeypatch.context() as patched:
        away = Away()
        patched.setattr(mien.score.work, "locate", lambda name: (away, locate(name)[1]))
        patched.setattr(pq.ParquetFile, "iter_batches", fail)
        with pytest.raises(OSError, match="NETWORK_CONNECTION"):
            score_part(plan, 0, model)
    assert plan.missing() == [0]
    assert score_part(plan, 0, model).unreadable == 0


def test_files_that_go_away_are_told_of(
    tmp_path: Path, pictures: list[bytes], model: bytes
) -> None:
    source = _tables(tmp_path / "in", pictures[:3], "gone.parquet", "here.parquet")
    (source / "gone.png").write_bytes(pictures[0])
    plan = plan_scores(job_of(source), str(tmp_path / "out"))
    for gone in source.glob("gone.*"):
        gone.unlink()
    for number in plan.missing():
        score_part(plan, number, model)
    rows = pq.read_table(plan.out).to_pylist()
    assert [row["row"] for row in rows] == [None, 0, 1, 2, 0, 1, 2]
    for row in rows:
        gone = row["source"] != str(source / "here.parquet")
        assert (row["source"] in (row["error"] or "")) == gone, row


def test_a_damaged_table_among_others_costs_a_row(
    tmp_path: Path, pictures: list[bytes], model: bytes
) -> None:
    source = _tables(tmp_path / "in", pictures[:2], "damaged.parquet", "whole.parquet")
    damaged = source / "damaged.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    plan = plan_scores(job_of(source), str(tmp_path / "out"))
    tallies = [score_part(plan, number, model) for number in plan.missing()]
    assert sum(tally.unreadable for tally in tallies) == 1
    lost, *read = pq.read_table(plan.out).to_pylist()
    assert lost["source"] == str(damaged)
    assert f"not a readable file: {damaged}" in lost["error"]
    assert [len(row["faces"]) for row in read] == [1, 1]


def test_a_store_that_does_not_answer_leaves_no_plan(
    tmp_path: Path, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _tables(tmp_path / "in", pictures[:2], "a.parquet")

    def away(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "no access")

    monkeypatch.setattr(pq, "ParquetFile", away)
    with pytest.raises(PermissionError):
        plan_scores(job_of(source), str(tmp_path / "out"))
    assert not (tmp_path / "out" / "_plan").exists()


def test_names_that_are_not_utf_8(tmp_path: Path, pictures: list[bytes], model: bytes) -> None:
    folder = tmp_path / "in" / os.fsdecode(b"\xff")
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes no such name")
    (folder / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(pictures[0])
    (folder / os.fsdecode(b"\xfe.png")).write_bytes(b"no picture")
    (tmp_path / "in" / "plain.png").write_bytes(pictures[1])
    pq.write_table(pa.table({"image": pictures[2:3]}), tmp_path / "table.parquet")
    (tmp_path / "table.parquet").rename(folder / os.fsdecode(b"\xfe.parquet"))
    plan = plan_scores(job_of(tmp_path / "in"), str(tmp_path / "out"))
    for number in plan.missing():
        score_part(plan, number, model)
    rows = pq.read_table(plan.out).to_pylist()
    assert {row["source"].removeprefix(f"{tmp_path}/in/"): len(row["faces"]) for row in rows} == {
        "plain.png": 1,
        "?/??.jpg": 1,
        "?/?.png": 0,
        "?/?.parquet": 1,
    }
    assert plan_scores(plan.job, plan.out).new_files == 0


def test_folders_behind_links_are_read(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "links"
    source.mkdir()
    (source / "faces").symlink_to(folder)
    (source / "nothing.png").symlink_to(tmp_path / "missing.png")
    assert plan_scores(job_of(source), str(tmp_path / "out")).images == 13


def test_a_folder_is_read_once_however_many_links_lead_there(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "round"
    shutil.copytree(folder, source / "faces")
    (source / "again").symlink_to(source / "faces")
    (source / "faces" / "up").symlink_to(source)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "back").symlink_to(source)
    (source / "faces" / "other").symlink_to(tmp_path / "other")
    plan = plan_scores(job_of(source), str(tmp_path / "out"))
    assert plan.images == 13
    places = {path for number in plan.missing() for path, *_ in plan.part(number).pieces}
    assert all(path.startswith(f"{source}/faces/") for path in places)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_within")
@pytest.mark.parametrize("engine", ["local", "ray"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")
def test_engines_agree_and_go_on_where_they_stopped(
    folder: Path, tmp_path: Path, model: bytes, engine: str
) -> None:
    plan = plan_scores(job_of(folder), str(tmp_path / "out"))
    score_part(plan, 1, model)
    written = (tmp_path / "out" / part_name(1)).stat().st_mtime_ns
    # As a worker leaves it that is killed while it writes.
    (tmp_path / "out" / "_part-000000.parquet.1.tmp").write_bytes(b"half")
    again = plan_scores(job_of(folder), str(tmp_path / "out"))
    assert again == plan
    assert again.missing() == [0, 2]
    rows = run(again, model, engine)
    assert len({row["source"] for row in rows}) == len(rows) == 13
    assert (tmp_path / "out" / part_name(1)).stat().st_mtime_ns == written


def test_a_plan_that_was_broken_off_is_no_obstacle(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "__plan.123.tmp").write_text("half")
    assert plan_scores(job_of(folder), str(out)).missing()
    assert [path.name for path in out.iterdir()] == ["_plan"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__plan.txt").write_text("somebody's")
    with pytest.raises(UsageError, match="holds other files"):
        plan_scores(job_of(folder), str(tmp_path / "other"))


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    files, root = locate(str(tmp_path))
    with pytest.raises(OSError, match="no room"), whole_file(files, f"{root}/a.txt") as file:
        file.write(b"half")
        raise OSError("no room")
    assert not list(tmp_path.iterdir())


def test_results_of_two_jobs_do_not_mix(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    plan_scores(job_of(folder), out)
    with pytest.raises(UsageError, match="begun with detector 'none', not 'fast'"):
        plan_scores(job_of(folder, detector="fast"), out)
    with pytest.raises(UsageError, match=r"begun with found_by .*, not 'auto .Haar.'"):
        plan_scores(job_of(folder, found_by="auto (Haar)"), out)
    with pytest.raises(UsageError, match="holds other files"):
        plan_scores(job_of(folder), str(folder))


def test_a_machine_with_another_detector_is_refused(
    folder: Path, tmp_path: Path, model: bytes
) -> None:
    plan = plan_scores(job_of(folder, found_by="none (Other)"), str(tmp_path / "out"))
    with pytest.raises(DataError, match=r"detector 'none' is none \(Whole\) on this machine"):
        score_part(plan, 0, model)


class _Store:
    """What `locate` gives of an object store, on a folder."""

    def __init__(self, root: Path) -> None:
        self._files = fs.SubTreeFileSystem(str(root), fs.LocalFileSystem())
        self._root = root

    def __call__(self, place: str) -> tuple[fs.FileSystem, str]:
        return self._files, place.removeprefix(f"{self._root}/")


@pytest.mark.parametrize("stored", [False, True], ids=["folder", "store"])
def test_results_and_hidden_files_are_no_source(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    if stored:
        monkeypatch.setattr(mien.score.plan, "locate", _Store(tmp_path))
    first = plan_scores(job_of(folder), str(folder / "base.parquet"))
    _table(folder / "base.parquet" / part_name(0))
    for hidden in (".trash/a.png", "a/.b.png", "_temporary/a.parquet", "_a.parquet", ".a.parquet"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        _table(folder / hidden)
    assert plan_scores(first.job, first.out) == first
    second = plan_scores(job_of(folder, model="nano"), str(folder / "nano.parquet"))
    assert second.sizes == first.sizes == (5, 5, 3)
    with pytest.raises(DataError, match="not results of 'mien score'"):
        plan_scores(job_of(folder / "base.parquet"), str(tmp_path / "out"))
    # Cameras name photographs so.
    (folder / "_MG_0001.png").write_bytes(b"")
    assert plan_scores(job_of(folder, model="mine"), str(tmp_path / "mine")).images == 14


def test_files_that_came_after_the_plan_are_counted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"image": [b""] * 7}), folder / "table.parquet")
    # Spark writes such.
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), folder / "empty.parquet")
    plan = plan_scores(job_of(folder), str(tmp_path / "out"))
    again = plan_scores(plan.job, plan.out)
    assert (again.images, again.new_files) == (20, 0)
    (folder / "new.png").write_bytes(b"")
    _table(folder / "new.parquet")
    (folder / "new.txt").write_text("not read")
    assert plan_scores(plan.job, plan.out) == replace(plan, new_files=2)
    with monkeypatch.context() as patch:
        patch.setattr(mien.score.plan, "locate", _Store(tmp_path))
        assert plan_scores(plan.job, plan.out).new_files == 0
    folder.rename(tmp_path / "away")
    assert plan_scores(plan.job, plan.out) == plan


def test_what_is_done_is_counted_anew(tmp_path: Path, pictures: list[bytes], model: bytes) -> None:
    (tmp_path / "in").mkdir()
    for name, held in (("empty", []), ("bad", [b"no picture", *pictures[:2]])):
        table = pa.table({"image": pa.array(held, pa.binary())})
        pq.write_table(table, tmp_path / f"in/{name}.parquet")
    plan = plan_scores(job_of(tmp_path / "in"), str(tmp_path / "out"))
    for number in plan.missing():
        score_part(plan, number, model)
    assert unreadable_in(plan, range(len(plan.sizes))) == 1


def test_an_empty_table_is_no_hindrance(tmp_path: Path, model: bytes) -> None:
    source = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), source)
    plan = plan_scores(job_of(source), str(tmp_path / "out"))
    assert [score_part(plan, number, model).images for number in plan.missing()] == [0]
    assert pq.read_table(plan.out).schema.equals(SCHEMA)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda root: root / "missing", DataError, "no such file or folder"),
        (lambda root: (root / "empty").mkdir() or root / "empty", DataError, "no image"),
        (lambda root: _written(root / "x.parquet", b"broken"), DataError, "not a readable Parquet"),
        (lambda root: _table(root / "y.parquet"), UsageError, "no column 'image'.*--column"),
        (lambda root: "ftp://nowhere/x", UsageError, "ftp://nowhere/x"),
    ],
)
def test_a_wrong_source_gets_one_line(
    tmp_path: Path, make: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        plan_scores(job_of(make(tmp_path)), str(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "_plan").exists()


def _tables(folder: Path, images: list[bytes], *names: str) -> Path:
    folder.mkdir()
    for name in names:
        pq.write_table(pa.table({"image": images}), folder / name)
    return folder


def _written(path: Path, held: bytes) -> Path:
    path.write_bytes(held)
    return path


def _table(path: Path) -> Path:
    pq.write_table(pa.table({"png": [b""]}), path)
    return path


class _Deadly:
    """A pool of processes, and a Ray cluster, whose workers all die at part 3."""

    exceptions = SimpleNamespace(
        WorkerCrashedError=BrokenProcessPool,
        OutOfMemoryError=MemoryError,
        NodeDiedError=ConnectionError,
        RayTaskError=DataError,
    )

    def __init__(self) -> None:
        self.begun: list[int] = []

    def __enter__(self) -> "_Deadly":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, _: object, __: Plan, number: int) -> Future[Tally]:
        self.begun.append(number)
        done = Future[Tally]()
        if number == 3:
            done.set_exception(BrokenProcessPool())
        else:
            done.set_result(Tally(number, 5, 5, 0))
        return done

    def remote(self, **how: int) -> Any:
        assert how == {"num_cpus": 1, "max_retries": 2}
        return lambda do: SimpleNamespace(remote=lambda plan, number, _: (do, plan, number))

    def put(self, model: bytes) -> bytes:
        return model

    def wait(self, running: list[Any]) -> tuple[list[Any], list[Any]]:
        return running[:1], running[1:]

    def get(self, task: Any) -> Tally:
        return self.submit(*task).result()


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_part_that_kills_its_workers_is_named_when_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    deadly = _Deadly()
    monkeypatch.setattr("mien.score.engines._pool", lambda *_: deadly)
    monkeypatch.setattr("mien.score.engines.cluster", lambda _: nullcontext(deadly))
    plan = plan_scores(job_of(_many(tmp_path, [b""], 25)), str(tmp_path / "out"))
    tallies = run_parts(plan, b"", engine=engine, workers=2)
    assert sorted(next(tallies).number for _ in range(4)) == [0, 1, 2, 4]
    with pytest.raises(DataError, match=r"^1 parts .* each killed 3 workers: 3;"):
        next(tallies)
    # Ray tries again by itself.
    assert deadly.begun.count(3) == (3 if engine == "local" else 1)


def test_an_unknown_engine(folder: Path, tmp_path: Path, model: bytes) -> None:
    plan = plan_scores(job_of(folder), str(tmp_path / "out"))
    with pytest.raises(UsageError, match="local, ray"):
        list(run_parts(plan, model, engine="spark", workers=1))


# --- accidents ----------------------------------------------------------------------------------


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(words[1]) == pid and b"spawn_main" in command:
            found.append(int(stat.parent.name))
    return found


def _many(tmp_path: Path, pictures: list[bytes], count: int) -> Path:
    pq.write_table(
        pa.table({"image": [pictures[n % len(pictures)] for n in range(count)]}),
        tmp_path / "many.parquet",
    )
    return tmp_path / "many.parquet"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _parts(out: Path) -> Iterator[Path]:
    return out.glob("part-*")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_a_killed_worker_and_a_killed_command_cost_nothing(
    tmp_path: Path, pictures: list[bytes]
) -> None:
    source, out = _many(tmp_path, pictures, 4096), tmp_path / "out.parquet"
    small_parts = "import mien.score.plan; mien.score.plan.PART_IMAGES = 128; " + MIEN[-1]
    command = [*MIEN[:-1], small_parts, "score", str(source), "--out", str(out)]
    command += ["--detector", "none", "--model", "nano", "--workers", "2"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _until(lambda: any(_parts(out)))
    os.kill(_children(first.pid)[0], signal.SIGKILL)
    done = len(list(_parts(out)))
    _until(lambda: len(list(_parts(out))) > done or first.poll() is not None)
    first.kill()
    first.communicate()
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith("4,096 images")
    rows = pq.read_table(out).column("row").to_pylist()
    assert Counter(rows) == Counter(range(4096))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
@pytest.mark.parametrize("again_after", [None, 0.0, 0.1])
def test_ctrl_c_ends_the_command_and_its_workers(
    tmp_path: Path, pictures: list[bytes], again_after: float | None
) -> None:
    """All processes of a terminal get it, and a second one must not leave it hanging."""
    source, out = _many(tmp_path, pictures, 4096), tmp_path / "out.parquet"
    small_parts = "import mien.score.plan; mien.score.plan.PART_IMAGES = 128; " + MIEN[-1]
    command = [*MIEN[:-1], small_parts, "score", str(source), "--out", str(out)]
    command += ["--detector", "none", "--model", "nano", "--workers", "2"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    _until(lambda: any(_parts(out)))
    workers = _children(running.pid)
    os.killpg(running.pid, signal.SIGINT)
    if again_after is not None:
        time.sleep(again_after)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode != 0
    if again_after is None:
        assert running.returncode == 130
        assert said.splitlines()[-1] == "mien: interrupted: the same command goes on"
        assert "Traceback" not in said
    _until(lambda: not any(_alive(worker) for worker in workers))


@pytest.mark.slow
def test_the_command_tells_what_could_not_be_read(folder: Path, tmp_path: Path) -> None:
    command = [*MIEN, "score", str(folder), "--out", str(tmp_path / "out"), "--detector", "none"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 1
    assert "13 images, 0 of them done before; now 13 with 12 faces" in ran.stdout
    assert "1 could not be read" in ran.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (again.returncode, "13 of them done before" in again.stdout) == (1, True)
    assert again.stderr == ran.stderr
    (folder / "new.png").write_bytes(b"")
    after = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (after.returncode, after.stdout.split(";")[0]) == (1, again.stdout.split(";")[0])
    line, _ = after.stderr.splitlines()
    assert "1 new files" in line
    assert "a new --out scores them" in line


def test_the_plan_is_readable_by_others(folder: Path, tmp_path: Path) -> None:
    plan = plan_scores(job_of(folder), str(tmp_path / "out"))
    table = pq.read_table(tmp_path / "out" / "_plan")
    assert json.loads(table.schema.metadata[b"mien.job"])["detector"] == "none"
    assert table.num_rows == np.sum(plan.sizes)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ProcessPoolExecutor", r"workers cannot be started .*: expected shared memory"),
        ("Path.write_bytes", r"mien-.*: no room for the model .*; TMPDIR names another folder"),
    ],
)
def test_what_lacks_to_start_workers_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    plan = plan_scores(job_of(folder), str(tmp_path / "out"))
    monkeypatch.setattr(f"mien.score.engines.{name}", refuse)
    with pytest.raises(DataError, match=says):
        list(run_parts(plan, b"", engine="local", workers=1))
