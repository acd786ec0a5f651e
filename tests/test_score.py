"""Scoring many images: every image once, whatever is killed; bad ones get their reason."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import mien
import mien.score.plan
from mien.drawn import draw_face, sample_parameters
from mien.errors import DataError, UsageError
from mien.labels import EMOTIONS
from mien.model import load_model
from mien.places import locate, whole_file
from mien.score import SCHEMA, Job, Plan, plan_scores, run_parts, score_part
from mien.score.plan import part_name

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
    return replace(Job(str(source), "image", "base", "f", "none"), **changes)


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


@pytest.mark.slow
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
    (out / "__plan.parquet.123.tmp").write_text("half")
    assert plan_scores(job_of(folder), str(out)).missing()
    assert [path.name for path in out.iterdir()] == ["_plan.parquet"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__plan.parquet.txt").write_text("somebody's")
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
    with pytest.raises(UsageError, match="holds other files"):
        plan_scores(job_of(folder), str(folder))


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
    assert not (tmp_path / "out" / "_plan.parquet").exists()


def _written(path: Path, held: bytes) -> Path:
    path.write_bytes(held)
    return path


def _table(path: Path) -> Path:
    pq.write_table(pa.table({"png": [b""]}), path)
    return path


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
    source, out = _many(tmp_path, pictures, 12_288), tmp_path / "out.parquet"
    command = [*MIEN, "score", str(source), "--out", str(out), "--detector", "none"]
    command += ["--workers", "2"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _until(lambda: any(_parts(out)))
    os.kill(_children(first.pid)[0], signal.SIGKILL)
    done = len(list(_parts(out)))
    _until(lambda: len(list(_parts(out))) > done or first.poll() is not None)
    first.kill()
    first.communicate()
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith("12,288 images")
    rows = pq.read_table(out).column("row").to_pylist()
    assert Counter(rows) == Counter(range(12_288))


@pytest.mark.slow
def test_the_command_tells_what_could_not_be_read(folder: Path, tmp_path: Path) -> None:
    command = [*MIEN, "score", str(folder), "--out", str(tmp_path / "out"), "--detector", "none"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 1
    assert "13 images, 0 of them done before; now 13 with 12 faces" in ran.stdout
    assert "1 could not be read" in ran.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (again.returncode, "13 of them done before" in again.stdout) == (0, True)


def test_the_plan_is_readable_by_others(folder: Path, tmp_path: Path) -> None:
    plan = plan_scores(job_of(folder), str(tmp_path / "out"))
    table = pq.read_table(tmp_path / "out" / "_plan.parquet")
    assert json.loads(table.schema.metadata[b"mien.job"])["detector"] == "none"
    assert table.num_rows == np.sum(plan.sizes)
