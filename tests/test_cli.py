"""The command line as people and scripts use it: output, one-line complaints, exit status."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from commands import Command
from mien.bench import Figure, Machine
from mien.cli import main
from mien.cli.printing import print_prediction
from mien.cli.terminal import hand_out, show_progress
from mien.config import load_recipe
from mien.data.audit.auditor import audit_dataset
from mien.data.audit.findings import Audit
from mien.data.audit.suspects import SUSPECT, OutOfFold
from mien.data.dataset import Dataset
from mien.drawn import draw_face, sample_parameters
from mien.judging.evaluate import evaluate
from mien.labels import EMOTIONS
from mien.model import load_model
from mien.records import SPLITS, Box, Face, Prediction
from mien.serve import Limits
from mien.training.export import note_figures


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


# --- predict ------------------------------------------------------------------------------------


def test_predict_writes_what_the_contract_says(mien: Command, photo: Path, tmp_path: Path) -> None:
    ran = mien("predict", photo, "--json", "-", "--out", tmp_path / "copies")
    assert (ran.status, ran.err) == (0, "")
    line = json.loads(ran.out)
    assert list(line) == ["source", "frame", "time_s", "width", "height", "faces", "error"]
    assert (line["source"], line["frame"], line["time_s"]) == (str(photo), 0, 0.0)
    assert (line["width"], line["height"], line["error"]) == (512, 512, None)
    (face,) = line["faces"]
    assert list(face) == ["box", "detection", "emotion", "confidence", "probabilities"]
    assert (face["emotion"], list(face["probabilities"])) == ("happiness", list(EMOTIONS))
    copy = np.asarray(Image.open(tmp_path / "copies" / "astronaut.jpg"))
    assert copy.shape == (512, 512, 3)
    changed = np.abs(copy.astype(int) - data.astronaut().astype(int)).max(axis=2) > 60
    assert changed[55:175, 170:280].any() and not changed[250:, :150].any()


def test_predict_goes_on_after_what_cannot_be_read(
    mien: Command, photo: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:5000])
    lines = tmp_path / "lines.jsonl"
    ran = mien("predict", broken, tmp_path / "missing.jpg", photo, "--json", lines)
    assert ran.status == 1
    first, second, third = map(json.loads, lines.read_text().splitlines())
    assert first["faces"] == second["faces"] == []
    assert "not a readable image" in first["error"]
    assert "no such file" in second["error"]
    assert third["faces"][0]["emotion"] == "happiness"
    assert len(ran.err.splitlines()) == 2


def test_predict_reads_folders_and_globs_and_keeps_copies_apart(
    mien: Command, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        face = draw_face(sample_parameters("anger", seed=1), size=48)
        Image.fromarray(face).save(tmp_path / folder / "same.png")
    (tmp_path / "two" / "notes.txt").write_text("no picture, not looked at")
    copies = tmp_path / "copies"
    ran = mien(
        "predict",
        tmp_path / "one",
        tmp_path / "tw*" / "*.png",
        "--detector",
        "none",
        "--out",
        copies,
    )
    assert (ran.status, len(ran.out.splitlines())) == (0, 2)
    assert sorted(path.name for path in copies.iterdir()) == ["same-2.jpg", "same.jpg"]
    assert ran.err == f"{tmp_path / 'two' / 'same.png'}: drawn on {copies / 'same-2.jpg'}\n"


def test_names_and_labels_steer_no_terminal(
    mien: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a\x1b]0;mine\x07\x1b[31m[bold].png"
    face = draw_face(sample_parameters("anger", seed=1), size=48)
    Image.fromarray(face).save(file)
    ran = mien("predict", file, "--detector", "none")
    assert ran.status == 0
    assert r"a\x1b]0;mine\x07\x1b[31m[bold].png: " in ran.out
    ran = mien("predict", tmp_path / "\x1b[2J[/x].png")
    assert ran.status == 1
    assert r"\x1b[2J[/x].png" in ran.err
    face_of = Face(Box(0, 0, 1, 1), None, "[/x]", 1.0, {"[/x]": 1.0})
    print_prediction(Prediction("a.png", 1, 1, (face_of,)))
    assert capsys.readouterr().out == "a.png: [/x] 100%\n"


def test_predict_goes_on_after_what_names_nothing(
    mien: Command, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    ran = mien("predict", tmp_path / "empty", tmp_path / "*.gif", photo, "--json", "-")
    assert (ran.status, len(ran.err.splitlines())) == (1, 2)
    folder, pattern, read = map(json.loads, ran.out.splitlines())
    assert "no image or video in this folder" in folder["error"]
    assert "the pattern matches no image" in pattern["error"]
    assert read["faces"][0]["emotion"] == "happiness"


def test_predict_writes_over_nothing_that_it_reads(mien: Command, tmp_path: Path) -> None:
    face = draw_face(sample_parameters("anger", seed=1), size=48)
    Image.fromarray(face).save(tmp_path / "face.jpg")
    original = (tmp_path / "face.jpg").read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    for _ in range(2):
        for named in (tmp_path / "face.jpg", tmp_path / "link" / "face.jpg"):
            ran = mien("predict", named, "--detector", "none", "--out", tmp_path)
            assert ran.status == 0
    assert (tmp_path / "face.jpg").read_bytes() == original
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == ["face-2.jpg", "face.jpg"]


def test_predict_never_reads_its_own_copies(mien: Command, tmp_path: Path) -> None:
    face = draw_face(sample_parameters("anger", seed=1), size=48)
    Image.fromarray(face).save(tmp_path / "face.jpg")
    copies = tmp_path / "annotated"
    for _ in range(2):
        assert mien("predict", tmp_path, "--detector", "none", "--out", copies).status == 0
    assert [path.name for path in copies.iterdir()] == ["face.jpg"]


def test_predict_copies_what_is_too_wide_for_a_jpeg(mien: Command, tmp_path: Path) -> None:
    Image.new("L", (65_501, 9), 90).save(tmp_path / "strip.png")
    out = tmp_path / "copies"
    ran = mien("predict", tmp_path / "strip.png", "--detector", "none", "--out", out)
    assert (ran.status, ran.err) == (0, "")
    with Image.open(out / "strip.png") as copy:
        assert copy.size == (65_501, 9)


@pytest.mark.parametrize("name", [b"line\nbreak.png", b"\xff\xfe.png", "лицо [red].png".encode()])
@pytest.mark.parametrize("content", [b"no picture", None], ids=["broken", "whole"])
def test_predict_takes_any_file_name(
    mien: Command, tmp_path: Path, name: bytes, content: bytes | None
) -> None:
    path = tmp_path / os.fsdecode(name)
    face = draw_face(sample_parameters("anger", seed=1), size=48)
    Image.fromarray(face).save(tmp_path / "face.png")
    path.write_bytes(content or (tmp_path / "face.png").read_bytes())
    ran = mien("predict", path, "--detector", "none", "--out", tmp_path / "copies")
    assert ran.status == (1 if content else 0)
    assert len((ran.out + ran.err).splitlines()) == 1
    ran = mien("predict", path, "--detector", "none", "--json", "-")
    assert json.loads(ran.out)["source"] == str(path)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["{tmp}/empty"], 1, "no image or video in this folder"),
        (["{tmp}/*.png"], 1, "the pattern matches no image"),
        (["{photo}", "--model", "{tmp}/text.onnx"], 1, "not a readable ONNX model"),
        (["{photo}", "--model", "huge"], 2, "no model 'huge'"),
        (["{photo}", "--detector", "yolo"], 2, "unknown detector 'yolo'"),
        (["{photo}", "--device", "tpu"], 2, "device 'tpu'"),
        (["{photo}", "--json", "{tmp}/text.onnx/a.jsonl"], 1, "text.onnx"),
    ],
    ids=["empty folder", "glob", "no model", "unknown model", "detector", "device", "json folder"],
)
def test_predict_says_what_is_wrong_in_one_line(
    mien: Command, photo: Path, tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.onnx").write_text("not a model")
    filled = [argument.format(tmp=tmp_path, photo=photo) for argument in arguments]
    ran = mien("predict", *filled)
    assert ran.status == status
    assert ran.err.startswith("mien: ") and says in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["predict"], ["predict", "a.png", "--nonsense"], ["train", "--lr=1"], ["nope"]]
)
def test_a_wrong_call_ends_with_2(mien: Command, arguments: list[str]) -> None:
    assert mien(*arguments).status == 2


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mien", "predict", "a.png", "--model", "huge", "--debug"])
    with pytest.raises(Exception, match="no model 'huge'"):
        main()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_figures_go_through_links_and_pipes(tmp_path: Path, kind: str) -> None:
    place, held = tmp_path / "place", tmp_path / "held"
    if kind == "link":
        place.symlink_to(held)
        hand_out(str(place), "{}")
        assert place.is_symlink() and held.read_text() == "{}"
        return
    os.mkfifo(place)
    reader = threading.Thread(target=lambda: held.write_text(place.read_text()))
    reader.start()
    hand_out(str(place), "{}")
    reader.join(timeout=10)
    assert held.read_text() == "{}"


def test_a_log_shows_that_long_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 500, 25))
    monkeypatch.setattr("mien.cli.terminal.time.monotonic", lambda: float(next(now)))
    with show_progress() as show:
        assert list(show(range(7), total=7, doing="looking")) == list(range(7))
    assert capsys.readouterr().err.splitlines() == ["looking: 3 of 7", "looking: 6 of 7"]


def test_a_mistake_of_ours_is_one_line(mien: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise TypeError("of all things")

    monkeypatch.setattr("mien.inputs.find_inputs", stumble)
    ran = mien("predict", "a.png")
    assert (ran.status, len(ran.err.splitlines())) == (1, 1)
    assert "TypeError: of all things; with --debug" in ran.err
    monkeypatch.setattr(sys, "argv", ["mien", "predict", "a.png", "--debug"])
    with pytest.raises(TypeError, match="of all things"):
        main()


@pytest.mark.parametrize("command", ["predict", "models"])
def test_json_is_never_written_over_what_is_none(
    mien: Command, tmp_path: Path, command: str
) -> None:
    """Who takes --json for a switch names a photo, or the model, behind it."""
    photo, model = tmp_path / "a.png", tmp_path / "m.onnx"
    Image.fromarray(draw_face(sample_parameters("anger", seed=1), size=48)).save(photo)
    shutil.copy(load_model("nano").path, model)
    sources: list[str | Path] = [photo, "--model", model] if command == "predict" else [model]
    for target in (photo, model):
        before = target.read_bytes()
        ran = mien(command, *sources, "--json", target)
        assert (ran.status, len(ran.err.splitlines())) == (2, 1)
        assert "that is there, holds no JSON and would be lost" in ran.err
        assert target.read_bytes() == before
    for early in (("eval", "no-model", "--data", "nowhere"), ("data", "audit", "nowhere")):
        ran = mien(*early, "--json", photo)
        assert "would be lost" in ran.err, "it is said before anything is done"
    for there in (b"", b' {"of": "before"}\n', b"[1]"):
        (tmp_path / "it.json").write_bytes(there)
        assert mien(command, *sources, "--json", tmp_path / "it.json").status == 0
        assert (tmp_path / "it.json").read_bytes() != there


def test_ctrl_c_while_the_command_line_is_imported_shows_no_traceback() -> None:
    program = """
import sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "mien.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from mien.__main__ import main
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "mien: interrupted\n")


def test_a_name_that_the_terminal_cannot_write(tmp_path: Path) -> None:
    face = draw_face(sample_parameters("anger", seed=1), size=48)
    Image.fromarray(face).save(tmp_path / "żółw.png")
    command = [sys.executable, "-c", "from mien.cli import main; main()"]
    ran = subprocess.run(
        [*command, "predict", "żółw.png", "--detector", "none"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b"\\u017c\xf3\\u0142w.png: ")


# --- the way from images to a model file --------------------------------------------------------


@pytest.mark.usefixtures("few_faces")
def test_four_commands_from_votes_to_a_model_file(
    mien: Command, ferplus_of_drawn_faces: Path, drawn_dataset: Dataset, tmp_path: Path
) -> None:
    dataset, run, file = tmp_path / "dataset", tmp_path / "run", tmp_path / "mine.onnx"
    ran = mien("data", "import", "ferplus", ferplus_of_drawn_faces, "--out", dataset)
    assert ran.status == 0 and str(dataset) in ran.out
    settings = ["--set", "epochs=1", "--set", "network=mini", "--set", "batch_size=16"]
    ran = mien("train", "--data", dataset, "--out", run, "--device", "cpu", *settings)
    assert ran.status == 0 and "best epoch 1" in ran.out
    ran = mien("eval", run, "--data", dataset)
    assert ran.status == 0 and "n = 16" in ran.out
    assert (run / "eval-test" / "confusion.png").stat().st_size > 10_000
    ran = mien("eval", run, "--data", drawn_dataset.path)
    assert ran.status == 0 and "nobody has checked" in " ".join(ran.out.split())
    assert (run / f"eval-test-{drawn_dataset.info['fingerprint']}" / "answers.parquet").exists()
    ran = mien("export", run, "--out", file)
    assert ran.status == 0 and file.exists()

    settings += ["--set", f"start_from={run}", "--set", "learning_rate=1e-5"]
    on, average = tmp_path / "on", tmp_path / "average"
    ran = mien("train", "--data", dataset, "--out", on, "--device", "cpu", *settings)
    assert ran.status == 0
    ran = mien("average", run, on, "--data", dataset, "--out", average, "--device", "cpu")
    assert ran.status == 0 and str(average) in ran.out
    assert f"{run}: validation loss" in ran.out and f"{on}: validation loss" in ran.out
    told = json.loads((average / "average.json").read_text())
    loss = min(each["averaged"] for each in told["runs"] if each["taken"])
    found = mien("eval", average, "--data", dataset, "--split", "valid", "--json", "-")
    assert json.loads(found.out)["nll"] == pytest.approx(loss, abs=1e-5)
    ran = mien("average", run, on, "--data", dataset, "--out", average)
    assert ran.status == 2 and "is not empty" in ran.err

    of_run = json.loads((run / "eval-test" / "evaluation.json").read_text())
    ran = mien("eval", file, "--data", dataset, "--json", "-")
    of_file = json.loads(ran.out)
    assert of_file["confusion"] == of_run["confusion"]
    assert of_file["nll"] == pytest.approx(of_run["nll"], abs=1e-4)

    small = tmp_path / "small.onnx"
    ran = mien("export", run, "--out", small, "--int8")
    assert ran.status == 0 and "--onto-card" in ran.out
    ran = mien("eval", small, "--data", dataset, "--onto-card", "--json", "-")
    assert ran.status == 0 and "noted on the card" in ran.err
    noted = load_model(small).card.figures["test"]
    assert noted["nll"] == json.loads(ran.out)["nll"]

    # The same figure through recognition, picture by picture.
    ran = mien(
        "predict", ferplus_of_drawn_faces / "FER2013Test", "--detector", "none", "--model", file,
        "--json", "-",
    )  # fmt: skip
    lines = [json.loads(line) for line in ran.out.splitlines()]
    opened = Dataset.open(dataset)
    rows = opened.usable("test")
    truth = {
        str(ferplus_of_drawn_faces / opened.column("path")[row]): opened.column("label")[row]
        for row in rows
    }
    right = [line["faces"][0]["emotion"] == truth[line["source"]] for line in lines]
    assert np.mean(right) == pytest.approx(of_file["accuracy"])


def test_from_suspect_labels_to_a_repaired_dataset(
    mien: Command,
    drawn_dataset: Dataset,
    ferplus_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick, audit = tmp_path / "quick.toml", tmp_path / "audit"
    answers = audit / "cross-fit" / "out-of-fold.parquet"
    quick.write_text('network = "mini"\nepochs = 1\nsize = 24\nbatch_size = 32\n')
    ask = (
        "data", "audit", drawn_dataset.path, "--out", audit,
        "--suspects", "--recipe", quick, "--folds", "2", "--device", "cpu",
    )  # fmt: skip
    ran = mien(*ask, "--json", "-")
    assert ran.status == 0
    found = json.loads(ran.out)
    assert "flat" in found["summary"]
    assert not {"no_face", "label_suspect"} & set(found["summary"])  # 160 images, one epoch
    assert "hardly more than guesses" in found["networks"]
    assert (audit / "audit.html").stat().st_size > 10_000
    hint = "so few images teach networks little: --recipe few goes on from a model that ships"
    assert hint in ran.err
    monkeypatch.setattr(
        "mien.training.crossfit.cross_fit", lambda *_, **__: OutOfFold.open(answers)
    )
    asked: list[float] = []

    def noted(*args: Any, **told: Any) -> Audit:
        asked.append(told["suspicion"])
        return audit_dataset(*args, **told)

    monkeypatch.setattr("mien.data.audit.auditor.audit_dataset", noted)
    assert mien(*ask).status == mien(*ask, "--suspicion", "0.4").status == 0
    assert asked == [SUSPECT, 0.4]
    usable = sum(len(drawn_dataset.usable(split)) for split in SPLITS)
    for least, hinted in ((usable, False), (usable + 1, True)):
        monkeypatch.setattr("mien.cli.data._FEW_IMAGES", least)
        assert (hint in mien(*ask).err) == hinted
    for dataset, recipe in ((ferplus_dataset, quick), (drawn_dataset, "few")):
        ran = mien("data", "audit", dataset.path, "--out", audit, "--suspects", "--recipe", recipe)
        assert ran.status == 0 and hint not in ran.err
    rules = tmp_path / "rules.toml"
    rules.write_text('without = ["contempt"]\nlabel_from = "model"\n')
    ran = mien(
        "data", "clean", drawn_dataset.path, "--out", tmp_path / "repaired", "--rules", rules,
        "--predictions", answers, "--confidence", "0.2",
    )  # fmt: skip
    assert ran.status == 0 and "changes: " in ran.out
    assert "contempt" not in Dataset.open(tmp_path / "repaired").emotions


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["data", "audit", "{data}", "--suspects"], 2, "say with --out DIR where they may lie"),
        (["data", "clean", "{data}", "--out", "{tmp}/d"], 2, "nothing to do"),
        (["data", "clean", "{data}", "--out", "{tmp}/d", "--merge", "fear"], 2, "expected OLD=NEW"),
        (["data", "clean", "{data}", "--out", "{tmp}/d", "--drop", "ugly"], 2, "drop ugly"),
        (
            ["data", "clean", "{data}", "--out", "{tmp}/d", "--drop", "label_suspect"],
            2,
            "expected --predictions FILE",
        ),
        (["train", "--data", "{tmp}"], 1, "no dataset.json here"),
        (["train", "--data", "{data}", "--recipe", "best-ever"], 2, "no recipe 'best-ever'"),
        (["train", "--data", "{data}", "--set", "epochs"], 2, "expected key=value"),
        (["train", "--data", "{data}", "--set", "epohcs=3"], 2, "unknown key 'epohcs'"),
        (["train", "--data", "{data}", "--set", "epochs=0"], 2, "epochs = 0"),
        (["train", "--data", "{data}", "--set", "network='vgg'"], 2, "network 'vgg'"),
        (["train", "--data", "{data}", "--batch-size", "8"], 2, "--set batch_size=VALUE"),
        (["search", "--data", "{data}", "--epochs=8"], 2, "--set epochs=VALUE"),
        (["audit", "{data}"], 2, "mien data audit"),
        (["runs", "{tmp}/none"], 1, "no such folder"),
        (["runs", "--out", "{tmp}"], 2, "expected a picture, {tmp}/runs.png"),
        (["eval", "{tmp}", "--data", "{data}"], 1, "no best.safetensors here"),
        (["eval", "base", "--data", "{data}", "--split", "dev"], 2, "split 'dev'"),
        (["eval", "base", "--data", "{data}", "--onto-card"], 2, "ONNX file of your own"),
        (["compare", "base", "nano", "base", "--data", "{data}"], 2, "base is named 2 times"),
        (["export", "{tmp}", "--out", "{tmp}/a.onnx"], 1, "no best.safetensors here"),
        (["data", "import", "fer2012", "{tmp}", "--out", "{tmp}/d"], 2, "did you mean fer2013"),
        (["data", "import", "folder", "{tmp}", "--out", "{data}"], 1, "none in a folder named"),
        (["data", "import", "ferplus", "{tmp}", "--out", "{tmp}/d"], 1, "no fer2013new.csv here"),
    ],
)
def test_every_command_says_what_is_wrong_in_one_line(
    mien: Command,
    drawn_dataset: Dataset,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    filled = [argument.format(tmp=tmp_path, data=drawn_dataset.path) for argument in arguments]
    if arguments[0] == "train":
        filled += ["--out", str(tmp_path / "run")]
    ran = mien(*filled)
    assert ran.status == status
    assert ran.err.startswith("mien: ") and says.format(tmp=tmp_path) in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_vote_table_without_a_column_is_one_line(
    mien: Command, ferplus_of_drawn_faces: Path, tmp_path: Path
) -> None:
    table = (ferplus_of_drawn_faces / "fer2013new.csv").read_text().replace("contempt", "scorn")
    (tmp_path / "fer2013new.csv").write_text(table)
    ran = mien("data", "import", "ferplus", tmp_path, "--out", tmp_path / "dataset")
    assert ran.status == 1
    assert "column 'contempt' is missing" in ran.err and len(ran.err.splitlines()) == 1
    assert not (tmp_path / "dataset").exists()


def test_models_shows_the_card_of_any_file(mien: Command, tiny_onnx: Path) -> None:
    ran = mien("models", tiny_onnx, "--json", "-")
    card = json.loads(ran.out)
    assert card.pop("fingerprint") == sha256(tiny_onnx.read_bytes()).hexdigest()[:16]
    assert (ran.status, card) == (0, json.loads(load_model(str(tiny_onnx)).card.model_dump_json()))
    lines = mien("models", "nano", tiny_onnx).out.splitlines()
    assert any("nano" in line and "ferplus test" in line for line in lines)
    assert mien("models", "huge").status == 2


def test_models_says_why_figures_may_flatter(
    mien: Command, tiny_onnx: Path, tmp_path: Path, drawn_dataset: Dataset
) -> None:
    file = Path(shutil.copy(tiny_onnx, tmp_path / "m.onnx"))
    told = evaluate(load_model(file), drawn_dataset, "test").to_json() | {"caveat": "It may not."}
    note_figures(file, "test", told)
    ran = mien("models", "nano", file)
    assert ran.out.splitlines()[-1] == f"{file}: It may not."
    assert "nano: " not in ran.out


def test_models_lists_what_is_shipped(mien: Command) -> None:
    ran = mien("models")
    assert ran.status == 0
    assert "base" in ran.out and "n = 3,153" in ran.out


def test_what_serve_is_given_is_handed_on(mien: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[tuple[str, ...], bool, int]] = []

    def serve(_: object, *, origins: Sequence[str], proxy: bool, limits: Limits, **__: Any) -> None:
        given.append((tuple(origins), proxy, limits.at_once))

    monkeypatch.setattr("mien.serve.serve", serve)
    assert mien("serve").status == 0
    more = ("--origin", "https://a.b", "--origin", "https://c.d", "--proxy", "--at-once", "3")
    assert mien("serve", *more).status == 0
    assert given == [((), False, 0), (("https://a.b", "https://c.d"), True, 3)]


def test_version_and_help(mien: Command) -> None:
    assert mien("--version").out.strip().count(".") == 2
    ran = mien("--help")
    assert ran.status == 0
    for command in ("predict", "data", "train", "average", "eval", "export", "models", "demo"):
        assert command in ran.out


@pytest.mark.usefixtures("drawn_curves")
def test_demo_goes_the_whole_way(
    mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.demo.FACES", 320)
    monkeypatch.setattr("mien.demo.load_recipe", lambda name: load_recipe(name, ["epochs=2"]))
    ran = mien("demo", "--out", tmp_path / "demo")
    assert ran.status == 0
    assert "photo: happiness" in ran.out
    named = [line.split()[0] for line in ran.out.split("look at:")[1].splitlines() if line.strip()]
    assert len(named) == 6
    assert all(Path(name).stat().st_size > 1000 for name in named)
    ran = mien("demo", "--out", tmp_path / "demo")
    assert ran.status == 2 and "exists already" in ran.err


def test_a_run_as_a_recipe_needs_another_place(
    mien: Command, tiny_run: Path, drawn_dataset: Dataset
) -> None:
    before = (tiny_run / "run.json").read_text()
    ran = mien("train", "--data", drawn_dataset.path, "--recipe", tiny_run)
    assert (ran.status, len(ran.err.splitlines())) == (2, 1)
    assert "that is a run: say with --out" in ran.err
    assert (tiny_run / "run.json").read_text() == before


# --- bench --------------------------------------------------------------------------------------


def test_bench_shows_and_keeps_the_speeds(
    mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine("a made one", 2, {("float32", 1): 1e11, ("float32", 2): 2e11}, 1e10)
    figure = Figure("ours", 50.0, "faces/s", "theirs", 2.5, 200.0, "bytes")
    monkeypatch.setattr("mien.bench.measure_machine", lambda **_: machine)
    asked: list[int] = []

    def bench_recognition(*_: object, turns: int, **__: object) -> list[Figure]:
        asked.append(turns)
        return [figure]

    def bench_training(*_: object, turns: int, **__: object) -> list[Figure]:
        asked.append(turns)
        return []

    monkeypatch.setattr("mien.bench.bench_recognition", bench_recognition)
    monkeypatch.setattr("mien.bench.bench_training", bench_training)
    ran = mien("bench", "--out", tmp_path / "bench", "--turns", "2")
    assert (ran.status, ran.err, asked) == (0, "", [2, 2])
    assert "a made one: float32, 1 thread 100 GFLOP/s, 2 threads 200 GFLOP/s; copies 10" in ran.out
    assert all(word in ran.out for word in ("50.00 faces/s", "2.5", "theirs", "25%, bytes"))
    kept = json.loads((tmp_path / "bench" / "speed.json").read_text())
    (told,) = kept["figures"]
    assert (told["ratio"], told["share_of_limit"]) == (2.5, 0.25)


def test_bench_keeps_a_race(mien: Command, tmp_path: Path, drawn_dataset: Dataset) -> None:
    settings = ("--set", "network=mini", "--set", "epochs=1", "--set", "size=24")
    ran = mien(
        *("bench", "train", "--data", drawn_dataset.path, "--out", tmp_path / "bench"),
        *("--recipe", "fast", "--against", "first", "--device", "cpu", *settings),
    )
    assert ran.status == 0
    kept = json.loads((tmp_path / "bench" / "train.json").read_text())
    assert kept["epochs"] == {"first": 1, "fast": 1}


def test_a_missing_library_of_the_system_is_named(
    mien: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare servers have no libGL, without which OpenCV cannot be imported."""
    says = "libGL.so.1: cannot open shared object file: No such file or directory"

    def lacking(*_: object, **__: object) -> None:
        raise ImportError(says)

    monkeypatch.setattr("mien.load", lacking)
    ran = mien("predict", "photo.jpg")
    assert ran.status == 2
    assert says in ran.err
    assert "apt install libgl1" in ran.err


def test_what_is_given_for_something_else_is_told(
    mien: Command, tmp_path: Path, drawn_dataset: Dataset, tiny_onnx: Path
) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("path,label\n")
    ran = mien("train", "--data", table)
    assert (ran.status, "a file; expected a dataset folder" in ran.err) == (1, True)
    ran = mien("export", tiny_onnx, "--out", tmp_path / "b.onnx")
    assert (ran.status, "a file; expected a run folder" in ran.err) == (1, True)
    ran = mien("models", "bse")
    assert (ran.status, "'mien export' makes a file of one" in ran.err) == (2, True)
    ran = mien("train", "--data", drawn_dataset.path, "--device", "gpu", "--out", tmp_path / "r")
    assert (ran.status, ran.err.startswith("mien: --device gpu: ")) == (2, True)


def test_eval_without_an_image_to_judge_leaves_no_folder(
    mien: Command, tmp_path: Path, drawn_dataset: Dataset, tiny_onnx: Path
) -> None:
    reasons = [
        "left out" if split == "test" else reason
        for split, reason in zip(
            drawn_dataset.column("split"), drawn_dataset.column("excluded"), strict=True
        )
    ]
    folder = tmp_path / "no-test"
    shutil.copytree(drawn_dataset.path, folder)
    manifest = drawn_dataset.with_column("excluded", reasons).manifest
    pq.write_table(manifest, folder / "manifest.parquet")
    ran = mien("eval", tiny_onnx, "--data", folder, "--out", tmp_path / "out")
    assert (ran.status, "0 in test: ask --split valid" in ran.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_training_tells_of_few_steps_and_export_of_a_file_it_replaces(
    mien: Command, tmp_path: Path, drawn_dataset: Dataset
) -> None:
    few = ("--set", "network=mini", "--set", "epochs=1")
    for ema, told in (("0.998", True), ("0.5", False)):
        run = tmp_path / ema
        ran = mien(
            "train", "--data", drawn_dataset.path, *few, "--set", f"ema={ema}", "--out", run,
            "--set", "batch_size=16",
        )  # fmt: skip
        assert ran.status == 0
        few_told = "images make 7 steps of recipe base, which are few: more epochs, 'few'"
        assert (few_told in ran.err) == told
    for replaces in (False, True):
        ran = mien("export", run, "--out", tmp_path / "m.onnx")
        assert ("in place of the file of before" in ran.out) == replaces


def test_a_notebooks_way_to_show_figures_does_no_harm(tmp_path: Path) -> None:
    """A kernel hands it on to what it starts, where its package may be missing."""
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    code = (
        "import mien.cli as c; c.app = lambda *a, **k: __import__('mien.judging.plots'); c.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert ran.returncode == 0


@pytest.mark.parametrize("says", ["PosixThread failed", "can't start new thread"])
def test_a_limit_of_threads_is_told(
    mien: Command, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(says)

    monkeypatch.setattr("onnxruntime.InferenceSession", refuse)
    ran = mien("predict", "a.png", "--model", "nano")
    assert ran.status == 1
    assert ran.err.startswith("mien: the system allows no more threads or processes: expected a")


def test_a_folder_that_cannot_be_written_is_named_as_it_was_given(
    mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Path.mkdir

    def refuse(self: Path, *how: Any, **named: Any) -> None:
        if self.name.endswith(".partial"):
            raise PermissionError(13, "Permission denied", str(self))
        made(self, *how, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)
    ran = mien("data", "draw", "--count", "8", "--out", tmp_path / "d")
    assert ran.err == f"mien: Permission denied: {tmp_path / 'd'}\n"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "the token is empty; expected one"),
        (("--token", "abc"), "--token or MIEN_TOKEN, and --token-file: expected one of them"),
        (("--token-file", "two"), "--token-file two: several lines; expected a token alone"),
        (("--token-file", "missing"), "--token-file missing: not readable (No such file"),
    ],
)
def test_a_file_that_holds_no_token(
    mien: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: Sequence[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    Path("token").write_text("\n")
    Path("two").write_text("a\nb\n")
    ran = mien("serve", "--token-file", "token", *more)
    assert ran.status == 2
    assert ran.err.startswith(f"mien: {says}")


def test_a_token_is_read_from_its_file(
    mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("\ufeffopen sesame\n", encoding="utf-8")
    shown: list[str] = []
    monkeypatch.setattr("mien.serve.serve", lambda *_, token, **__: shown.append(token))
    assert mien("serve", "--token-file", tmp_path / "token", "--model", "nano").status == 0
    assert shown == ["open sesame"]
