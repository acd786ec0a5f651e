"""Training learns, leaves everything a run needs, and resumes exactly."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mien.config import TrainConfig
from mien.data.dataset import PART, Dataset
from mien.data.stream import write_stream
from mien.errors import ConfigError, DataError, DatasetError, ModelError, UsageError
from mien.judging.evaluate import evaluate
from mien.model import load_model
from mien.preprocess import InputSpec
from mien.training import mixing
from mien.training.augment import Augmentation
from mien.training.checkpoint import BEST_NAME, latest_checkpoint, read_weights, write_weights
from mien.training.emphasis import counts_of, worth_of
from mien.training.export import export_run, note_figures
from mien.training.labelled import Batch, Labelled
from mien.training.losses import Objective
from mien.training.networks import Classifier, build
from mien.training.reopen import take_weights
from mien.training.runs import TorchModel, open_network, open_run
from mien.training.soup import average_runs
from mien.training.teachers import mean_opinion, open_teacher, weights_digest, write_opinions
from mien.training.train import train
from mien.training.trainer import Trainer, _with_opinions

CALM = dict.fromkeys(("rotation", "shift", "scale", "brightness", "contrast", "erasing"), 0.0)


class StopError(Exception):
    """Ends a run from outside, like a closed lid."""


def _stop_after(epoch: int, entry: dict[str, object]) -> None:
    if entry["epoch"] == epoch:
        raise StopError


def test_run_folder_holds_everything(tiny_run: Path, tiny_config: TrainConfig) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert {"run.json", "history.jsonl", "curves.png", BEST_NAME, "checkpoints"} <= names
    history = [json.loads(line) for line in (tiny_run / "history.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    description = json.loads((tiny_run / "run.json").read_text())
    assert TrainConfig(**description["recipe"]) == tiny_config
    assert description["dataset"]["train"] == 112


def test_best_epoch_has_the_lowest_validation_loss(tiny_run: Path) -> None:
    history = [json.loads(line) for line in (tiny_run / "history.jsonl").read_text().splitlines()]
    best = min(history, key=lambda entry: entry["valid_loss"])
    _, card = read_weights(tiny_run / BEST_NAME)
    assert card.training["best_epoch"] == best["epoch"]
    assert card.figures["valid"]["nll"] == best["valid_nll"] <= best["valid_loss"] + 1e-6
    assert card.figures["valid"]["accuracy"] == best["valid_accuracy"]


def test_what_is_kept_and_judged_are_the_averaged_weights(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    config = tiny_config.model_copy(update={"epochs": 1, "ema": 0.9})
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    kept, card = read_weights(tmp_path / "run" / BEST_NAME)
    judged = evaluate(open_run(tmp_path / "run"), drawn_dataset, "valid")
    assert judged.evaluation.count == card.figures["valid"]["n"]
    assert judged.evaluation.nll == pytest.approx(card.figures["valid"]["nll"], abs=1e-5)
    checkpoint = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    for name, tensor in kept.items():
        assert torch.equal(checkpoint.tensors[f"averaged.module.{name}"], tensor)
    assert not all(torch.equal(checkpoint.tensors[f"model.{name}"], kept[name]) for name in kept)


def test_every_epoch_has_another_order(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, orders = Trainer._step, dict[int, list[int]]()

    def noted(self: Trainer, batch: Batch) -> torch.Tensor:
        assert batch.positions is not None
        orders.setdefault(self.epoch, []).extend(batch.positions.tolist())
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", noted)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(orders) == 3
    for one, other in itertools.combinations(orders.values(), 2):
        assert len(set(one)) == len(one)
        assert one != other


def test_plateaus_are_those_of_the_validation_loss(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[float] = []
    monkeypatch.setattr(
        "mien.training.optim._Plateau.after_epoch", lambda _, valid_loss: told.append(valid_loss)
    )
    config = tiny_config.model_copy(update={"schedule": "plateau"})
    ended = train(drawn_dataset, config, tmp_path / "run", device="cpu")
    assert told == [entry["valid_loss"] for entry in ended.history]


def test_gradients_are_clipped_as_asked(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "ema": 0.0, "epochs": 1}
    moved = []
    for norm in (0.0, 1e-5):
        config = tiny_config.model_copy(update={**plain, "clip_norm": norm})
        train(drawn_dataset, config, run := tmp_path / f"{norm}", device="cpu")
        torch.manual_seed(config.seed)
        begun = build("mini", spec=InputSpec(), emotions=8)
        learnt = open_network(run)[0].parameters()
        steps = (a - b for a, b in zip(begun.parameters(), learnt, strict=True))
        moved.append(max(float(step.detach().abs().max()) for step in steps))
    assert moved[0] > 1e-4 and moved[1] < 1e-6


def test_the_loss_of_an_emotion_based_run_counts_images_by_their_worth(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    rows = drawn_dataset.manifest.select(["split", "label"]).to_pylist()
    out = [
        row["label"] == "fear" and number % (2 if row["split"] == "train" else 3) > 0
        for number, row in enumerate(rows)
    ]
    fewer = drawn_dataset.with_column("excluded", ["fewer" if odd else None for odd in out])
    config = tiny_config.model_copy(update={"epochs": 1, "emotion_based": True})
    (entry,) = train(fewer, config, tmp_path / "run", device="cpu").history
    card = open_run(tmp_path / "run").card
    worth = worth_of(counts_of(card), config.emotion_worth)
    labels = fewer.labels(fewer.usable("valid"), card.labels)
    of = np.bincount(labels, minlength=8)
    losses = np.array([entry["valid_loss_of"][emotion] for emotion in card.labels])
    assert np.ptp(worth) > 0.1 and np.ptp(of) > 0
    assert entry["valid_loss"] == pytest.approx((worth * of) @ losses / (worth @ of), abs=1e-9)


def test_only_what_a_batch_has_twice_is_varied_again() -> None:
    trainer = SimpleNamespace(augment=lambda images: images + 1)
    images, positions = torch.zeros(4, 1, 2, 2), torch.tensor([5, 3, 5, 9])
    again = Trainer._vary_again(trainer, images, positions)  # type: ignore[arg-type]
    assert again[:, 0, 0, 0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamax", "schedule": "plateau", "plateau_patience": 0, "ema": 0.0},
        {"soft_labels": False, "label_smoothing": 0.1, "network": "classic4"},
        {"emotion_based": True, "emotion_balanced": 0.4, "balance": 0.5, "mixup": 0.5},
        {
            "optimizer": "sgd",
            "schedule": "onecycle",
            "learning_rate": 0.05,
            "weight_decay": 5e-4,
            "cutmix": 0.5,
            "logit_adjustment": 0.5,
        },
        {"progressive_size": 24, "progressive_share": 0.5, "precision": "bfloat16"},
        {"varied_at_once": 2, "environment": 0.5},
        {"teachers": ["nano"], "teachers_see": "original", "optimizer": "adamw"},
        {"sharpness": 1.0},
        {"start_from": "nano", "network": "mirror-s"},
    ],
    ids=[
        "muon-cosine-ema",
        "adamax-plateau",
        "hard-labels-classic4",
        "emotions",
        "sgd-cutmix",
        "progressive-bfloat16",
        "varied-two-at-once",
        "taught-adamw",
        "sharpness",
        "from-a-file",
    ],
)
def test_resumed_run_ends_with_the_same_weights_bit_for_bit(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    changes: dict[str, object],
) -> None:
    config = TrainConfig(**(tiny_config.model_dump() | changes))
    train(drawn_dataset, config, tmp_path / "whole", device="cpu")
    with pytest.raises(StopError):
        train(
            drawn_dataset,
            config,
            tmp_path / "cut",
            device="cpu",
            on_epoch=lambda entry: _stop_after(1, entry),
        )
    # Whatever else the process drew in between must not matter.
    torch.manual_seed(12345)
    train(drawn_dataset, config, tmp_path / "cut", resume=True, device="cpu")
    name = "checkpoints/epoch-0003.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    weights = [read_weights(tmp_path / run / BEST_NAME)[0] for run in ("whole", "cut")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(("kind", "seen"), [("run", "varied"), ("file", "original")])
def test_teachers_opinions_are_learnt(
    tmp_path: Path,
    tiny_run: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    kind: str,
    seen: str,
) -> None:
    """A student who learns nothing but the teacher's opinion comes to agree with it.

    Its last epoch is judged: the best one is chosen by the labels, which the teacher hardly knows.
    """
    settings = tiny_config.model_dump() | CALM | {"epochs": 12, "batch_size": 16}
    model = tiny_run
    if kind == "file":
        model = tmp_path / "teacher.onnx"
        export_run(tiny_run, model)
    taught = {"teachers": [str(model)], "teachers_see": seen, "distillation": 1.0}
    config = TrainConfig(**(settings | taught))
    train(drawn_dataset, config, tmp_path / "student", device="cpu")
    crops = drawn_dataset.images(drawn_dataset.usable("train"))
    network, card = open_network(tmp_path / "student")
    (told,) = card.training["taught_by"]
    assert told["model"] == {"run": "tiny", "file": "teacher"}[kind]
    assert told["learnt_from"] == [drawn_dataset.info["fingerprint"]]
    last = latest_checkpoint(tmp_path / "student" / "checkpoints")
    assert last is not None
    network.load_state_dict(
        {
            name.removeprefix("model."): tensor
            for name, tensor in last.tensors.items()
            if name.startswith("model.")
        }
    )
    student = TorchModel(network.eval(), card.model_copy(update={"temperature": 1.0}))
    teacher = open_run(tiny_run)
    said, learnt = (model.probabilities(list(crops)) for model in (teacher, student))
    assert np.abs(said - 1 / 8).mean() > 0.07
    assert np.abs(said - learnt).mean() < 0.03


def test_votes_and_opinions_are_shared_as_asked() -> None:
    votes, opinions = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.2, 0.8]])
    torch.testing.assert_close(_with_opinions(votes, opinions, 0.25), torch.tensor([[0.8, 0.2]]))


@pytest.mark.parametrize("kind", ["run", "file"])
def test_what_decides_a_teachers_answers_is_not_learnt(
    tmp_path: Path, tiny_run: Path, kind: str
) -> None:
    """The student would learn it, and be decided by it once more."""
    _, card = read_weights(tiny_run / BEST_NAME)
    images = dict(zip(card.labels, (400, 300, 120, 80, 50, 30, 19, 1), strict=True))
    card = card.model_copy(update={"training": {**card.training, "images": images}})
    offsets = tuple(np.log(worth_of(counts_of(card), 2.0)).tolist())
    decided = tmp_path / "decided"
    decided.mkdir()
    network = open_run(tiny_run).network
    write_weights(
        decided / BEST_NAME, network, card.model_copy(update={"worth": 2.0, "offsets": offsets})
    )
    name = decided
    if kind == "file":
        export_run(decided, name := tmp_path / "decided.onnx")
    cpu, pixels = torch.device("cpu"), torch.rand(16, 1, 48, 48)
    plain, taught = (
        open_teacher(str(model), card.spec, card.labels, cpu)[0](pixels)
        for model in (tiny_run, name)
    )
    torch.testing.assert_close(taught, plain, rtol=1e-3, atol=1e-5)
    assert (open_run(decided).answers(pixels) - plain).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["run", "file"])
def test_what_counted_rare_emotions_more_is_taken_out_of_a_teachers_answers(
    tmp_path: Path, tiny_run: Path, kind: str
) -> None:
    """At the temperature that the logits have without it."""
    run = open_run(tiny_run)
    tilt = np.linspace(-1, 1, 8)
    told = {"temperature": 1.6, "tilt": tuple(tilt.tolist()), "untilted_temperature": 0.9}
    (folder := tmp_path / "tilted").mkdir()
    write_weights(folder / BEST_NAME, run.network, run.card.model_copy(update=told))
    name = folder
    if kind == "file":
        export_run(folder, name := tmp_path / "tilted.onnx")
    pixels = torch.rand(16, 1, 48, 48)
    teacher, _ = open_teacher(str(name), run.card.spec, run.card.labels, torch.device("cpu"))
    with torch.inference_mode():
        expected = (run.network.eval()(pixels) / 0.9 - torch.from_numpy(tilt).float()).softmax(1)
    torch.testing.assert_close(teacher(pixels), expected, rtol=1e-3, atol=1e-5)


def test_a_card_that_tells_more_is_no_other_teacher(tmp_path: Path, tiny_onnx: Path) -> None:
    file = Path(shutil.copy(tiny_onnx, tmp_path / "a.onnx"))
    before = weights_digest(str(file))
    told = ("n", "accuracy", "macro_recall", "nll", "recall", "left_out", "dataset")
    note_figures(file, "test", {**dict.fromkeys(told, 0.5), "dataset": {"fingerprint": "ab"}})
    assert load_model(str(file)).card.figures["test"]["nll"] == 0.5
    assert weights_digest(str(file)) == before != weights_digest("nano")


def test_a_teacher_who_sees_other_pictures_is_refused(
    tmp_path: Path, tiny_run: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    config = TrainConfig(**(tiny_config.model_dump() | {"size": 32, "teachers": [str(tiny_run)]}))
    with pytest.raises(UsageError, match=r"sees 48x48 grey and knows .* expected 32x32 grey"):
        train(drawn_dataset, config, tmp_path / "run", device="cpu")


def test_first_epochs_learn_from_smaller_pictures(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sides: list[tuple[bool, int]] = []
    forward = Classifier.forward

    def watched(self: Classifier, pixels: torch.Tensor) -> torch.Tensor:
        sides.append((self.training, pixels.shape[-1]))
        return forward(self, pixels)

    monkeypatch.setattr(Classifier, "forward", watched)
    changes = {"progressive_size": 32, "progressive_share": 0.6, "batch_size": 56}
    config = TrainConfig(**(tiny_config.model_dump() | changes))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    # Two steps an epoch; the pictures that it is judged by are always whole.
    assert [side for training, side in sides if training] == [32, 32, 32, 32, 48, 48]
    assert {side for training, side in sides if not training} == {48}


def test_a_network_for_one_size_only_is_refused_smaller_pictures(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    changes = {"network": "classic4", "progressive_size": 32}
    config = TrainConfig(**(tiny_config.model_dump() | changes))
    with pytest.raises(ConfigError, match="'classic4' takes grey 48x48 only"):
        train(drawn_dataset, config, tmp_path / "run", device="cpu")


def test_a_run_begun_before_there_was_a_setting_resumes(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    config = TrainConfig(**(tiny_config.model_dump() | {"epochs": 1}))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    described = tmp_path / "run" / "run.json"
    told = json.loads(described.read_text())
    del told["recipe"]["progressive_size"]
    described.write_text(json.dumps(told))
    assert len(train(drawn_dataset, config, tmp_path / "run", resume=True).history) == 1


def test_resuming_a_finished_run_changes_nothing(
    tiny_run: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    before = (tiny_run / "history.jsonl").read_text()
    result = train(drawn_dataset, tiny_config, tiny_run, resume=True, device="cpu")
    assert len(result.history) == 3
    assert (tiny_run / "history.jsonl").read_text() == before


def test_a_run_is_never_overwritten(
    tiny_run: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    with pytest.raises(UsageError, match="add --resume"):
        train(drawn_dataset, tiny_config, tiny_run, device="cpu")


def test_resuming_with_another_recipe_is_refused(
    tiny_run: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    other = TrainConfig(**(tiny_config.model_dump() | {"learning_rate": 0.1}))
    with pytest.raises(UsageError, match=r"learning_rate = 0\.004, now it is 0\.1"):
        train(drawn_dataset, other, tiny_run, resume=True, device="cpu")


def test_a_folder_with_other_things_is_left_alone(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match="not empty and no run"):
        train(drawn_dataset, tiny_config, tmp_path, device="cpu")


def test_a_run_killed_as_it_wrote_its_first_file_begins_anew(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    (tmp_path / ".run.json.partial").touch()
    config = TrainConfig(**(tiny_config.model_dump() | {"epochs": 1}))
    assert len(train(drawn_dataset, config, tmp_path, device="cpu").history) == 1


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, drawn_dataset: Dataset) -> None:
    run = tmp_path / "run"
    mien: list[str | Path] = [Path(sys.executable).with_name("mien"), "train"]
    settings = ["network=mini", "size=16", "batch_size=32", "epochs=10000"]
    with subprocess.Popen(
        [
            *mien,
            *("--data", drawn_dataset.path, "--out", run, "--device", "cpu"),
            *(f"--set={text}" for text in settings),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 120
        while not (run / "history.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "mien: interrupted: the same command with --resume goes on"
    assert "Traceback" not in said


def test_ctrl_c_is_not_lost_in_a_library(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the drawing of curves, where a C++ function drops what comes within it."""

    def draw(path: Path, history: object) -> None:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
            time.sleep(0)

    monkeypatch.setattr("mien.training.trainer.plots.save_curves", draw)
    with pytest.raises(KeyboardInterrupt):
        train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "run" / "checkpoints" / "epoch-0001.json").exists()


def test_ctrl_c_ends_within_an_epoch(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = []
    real_step = Trainer._step

    def step(self: Trainer, batch: Batch) -> torch.Tensor:
        steps.append(self.epoch)
        signal.raise_signal(signal.SIGINT)
        return real_step(self, batch)

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")
    assert steps == [0]
    assert not (tmp_path / "run" / "history.jsonl").exists()


def test_divergence_stops_with_a_clear_line_and_keeps_the_last_good_epoch(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_step = Trainer._step

    def step(self: Trainer, batch: Batch) -> torch.Tensor:
        return real_step(self, batch) * (float("nan") if self.epoch == 1 else 1.0)

    monkeypatch.setattr(Trainer, "_step", step)
    with pytest.raises(DataError, match=r"diverged in epoch 2 \(loss nan\).*lower learning_rate"):
        train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 1
    assert (tmp_path / "run" / "checkpoints" / "epoch-0001.json").exists()


def test_a_gradient_that_is_no_number_stops_with_the_same_line(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Objective, "__call__", lambda _, logits, *__: logits.mean() * float("nan"))
    assert tiny_config.clip_norm > 0
    with pytest.raises(DataError, match=r"diverged in epoch 1 \(loss nan\): try a lower"):
        train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")


def test_divergence_leaves_the_last_good_checkpoint(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"batch_size": 8, "checkpoint_steps": 2, "epochs": 2}
    config = TrainConfig(**(tiny_config.model_dump() | changes))
    real, taken = Objective.__call__, itertools.count()
    bad = 112 // 8 + 3

    def stumble(self: Objective, logits: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        loss = real(self, logits, *rest)
        return loss * float("nan") if next(taken) == bad else loss

    with monkeypatch.context() as patched:
        patched.setattr(Objective, "__call__", stumble)
        with pytest.raises(DataError, match=r"diverged in epoch 2 .* last good epoch is kept"):
            train(drawn_dataset, config, tmp_path / "run", device="cpu")
    state = tmp_path / "run/checkpoints/epoch-0001-step-0000002.json"
    told = json.loads(state.read_text())
    assert 0 < told["begun"]["seconds"] < 100
    told["begun"]["seconds"] = 1000.0
    state.write_text(json.dumps(told))
    _, second = train(drawn_dataset, config, tmp_path / "run", resume=True).history
    assert 1000 < second["seconds"] < 1100, "what came before counts, too"


def test_a_card_tells_what_margins_added(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    """Of an emotion that is rarer among what is learnt, up to the difference of logarithms."""
    rare = [
        row | {"excluded": "fewer"} if row["label"] == "fear" and number % 2 else row
        for number, row in enumerate(drawn_dataset.manifest.to_pylist())
        if row["split"] == "train" or row["excluded"] is None
    ]
    manifest = pa.Table.from_pylist(rare, schema=drawn_dataset.manifest.schema)
    config = TrainConfig(**(tiny_config.model_dump() | {"logit_adjustment": 1.0, "epochs": 1}))
    train(replace(drawn_dataset, manifest=manifest), config, tmp_path / "run", device="cpu")
    card = open_run(tmp_path / "run").card
    images = np.array(list(card.training["images"].values()))
    assert images.min() < images.max()
    share = np.ptp(np.array(card.tilt)) / np.log(images.max() / images.min())
    assert 0 <= share <= 1 + 1e-6
    assert round(share, 6) in {round(tenths / 10, 6) for tenths in range(11)}
    assert len(card.tilt) == len(card.labels)
    assert card.untilted_temperature


TOO_LITTLE_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError("Unable to allocate 20.0 GiB for an array"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("error", TOO_LITTLE_MEMORY, ids=["cuda", "numpy", "cpu"])
def test_too_little_memory_is_said_in_a_line(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def full(*_: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(Objective, "__call__", full)
    with pytest.raises(DataError, match=r"not enough memory .* batch_size 32 .*: try a smaller"):
        train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")


@pytest.mark.parametrize("error", TOO_LITTLE_MEMORY, ids=["cuda", "numpy", "cpu"])
def test_images_that_do_not_fit_into_memory_are_to_be_streamed(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def full(*_: object, **__: object) -> Labelled:
        raise error

    monkeypatch.setattr(Labelled, "of", full)
    with pytest.raises(DataError, match=r"those of training alone take 0\.0 GB: .*data stream"):
        train(drawn_dataset, tiny_config, tmp_path / "run", device="cpu")
    stream = write_stream(drawn_dataset, str(tmp_path / "stream"))
    monkeypatch.setattr(Labelled, "of_stream", full)
    with pytest.raises(DataError, match=r"those of validation alone .*: try a smaller size$"):
        train(stream, tiny_config, tmp_path / "run", device="cpu")


def test_colour_is_not_learnt_from_grey_images(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    stream = write_stream(drawn_dataset, str(tmp_path / "stream"))
    config = TrainConfig(**(tiny_config.model_dump() | {"channels": 3}))
    for data in (drawn_dataset, stream):
        with pytest.raises(UsageError, match=r"are grey.*'mien data import --channels 3'"):
            train(data, config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "order"),
    [
        ({"balance": 1.0}, ["mixed", "weighed"]),
        ({"mixup": 1.0}, ["mixed", "weighed"]),
        ({"emotion_based": True}, ["mixed", "weighed"]),
        ({"balance": 1.0, "mixup": 1.0}, ["weighed", "mixed"]),
        ({"balance": 1.0, "cutmix": 1.0}, ["weighed", "mixed"]),
        ({"emotion_based": True, "mixup": 1.0}, ["weighed", "mixed"]),
        ({"emotion_based": True, "cutmix": 1.0}, ["weighed", "mixed"]),
    ],
    ids=str,
)
def test_images_count_by_their_emotion_before_they_are_mixed(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    order: list[str],
) -> None:
    """By the emphasis of the epoch, too, where there is one."""
    done: list[str] = []
    real_mix, real_worth = mixing.mix, Objective.worth

    def noted_mix(*given: Any) -> Any:
        done.append("mixed")
        return real_mix(*given)

    def noted_worth(self: Objective, *given: Any) -> torch.Tensor:
        done.append("weighed")
        emphasis = given[2]
        assert (emphasis is not None) == ("emotion_based" in changes)
        return real_worth(self, *given)

    monkeypatch.setattr("mien.training.trainer.mix", noted_mix)
    monkeypatch.setattr(Objective, "worth", noted_worth)
    quick = {"batch_size": 112, "epochs": 1, "size": 16}
    config = TrainConfig(**(tiny_config.model_dump() | quick | changes))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    assert done == order


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_no_utf_8_takes_a_run(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    config = TrainConfig(**(tiny_config.model_dump() | {"epochs": 1, "size": 16}))
    run = tmp_path / os.fsdecode(b"caf\xe9")
    train(drawn_dataset, config, run, device="cpu")
    assert read_weights(run / BEST_NAME)[1].name == "caf?"
    assert train(drawn_dataset, config, run, resume=True, device="cpu").history
    average, _ = average_runs(
        [run, shutil.copytree(run, run.parent / "b")], drawn_dataset, run / "a\udce9"
    )
    assert average.name == "a?"


def test_one_emotion_alone_is_refused(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    rows = drawn_dataset.manifest.select(["split", "label"]).to_pylist()
    out = [row["split"] == "train" and row["label"] != "fear" for row in rows]
    alone = drawn_dataset.with_column("excluded", ["odd" if odd else None for odd in out])
    with pytest.raises(DatasetError, match="every training image shows fear; expected two"):
        train(alone, tiny_config, tmp_path / "run", device="cpu")
    part = pa.array(["mine" if odd else "theirs" for odd in out])
    of_two = [{"name": name} for name in ("mine", "theirs")]
    parts = replace(
        drawn_dataset,
        manifest=drawn_dataset.manifest.append_column(PART, part),
        info={**drawn_dataset.info, "parts": of_two},
    )
    chosen = tiny_config.model_copy(update={"where": ("part=theirs",)})
    with pytest.raises(DatasetError, match="every training image where part=theirs shows fear"):
        train(parts, chosen, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_images_a_second_are_those_that_there_are(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    """Where a batch would hold more than all of them."""
    config = tiny_config.model_copy(update={"batch_size": 65_536, "epochs": 1})
    ended = train(drawn_dataset, config, tmp_path / "run", device="cpu")
    count = len(drawn_dataset.usable("train"))
    # An epoch's seconds hold its training and its validation.
    assert ended.history[0]["images_per_second"] >= count / ended.history[0]["seconds"]
    assert ended.history[0]["images_per_second"] < 20 * count / ended.history[0]["seconds"]


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("run.json", '{"recipe": {', r"run\.json: damaged"),
        ("run.json", "[]", r"run\.json: damaged"),
        ("checkpoints/epoch-0003.json", "{}", r"does not fit this run \(KeyError: 'schedule'\)"),
    ],
    ids=["cut-off", "a-list", "empty-state"],
)
def test_a_damaged_run_is_named_and_left_alone(
    tmp_path: Path,
    tiny_run: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    file: str,
    content: str,
    says: str,
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / file).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=says):
        train(drawn_dataset, tiny_config, run, resume=True, device="cpu")
    assert (run / file).read_text(encoding="utf-8") == content


def test_too_little_memory_on_resuming_does_not_blame_the_checkpoint(
    tmp_path: Path,
    tiny_run: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise TOO_LITTLE_MEMORY[2]

    monkeypatch.setattr(Trainer, "_take", full)
    run = shutil.copytree(tiny_run, tmp_path / "run")
    with pytest.raises(DataError, match=r"not enough memory .* try a smaller batch_size"):
        train(drawn_dataset, tiny_config, run, resume=True, device="cpu")


def test_another_teacher_by_the_same_name_is_refused(
    tmp_path: Path, tiny_run: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    teacher = shutil.copytree(tiny_run, tmp_path / "teacher")
    taught = {"teachers": [str(teacher)], "teachers_see": "original", "epochs": 1}
    config = TrainConfig(**(tiny_config.model_dump() | taught))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    assert train(drawn_dataset, config, tmp_path / "run", resume=True, device="cpu").history
    other = TrainConfig(**(tiny_config.model_dump() | {"epochs": 1, "seed": 5}))
    shutil.rmtree(teacher)
    train(drawn_dataset, other, teacher, device="cpu")
    with pytest.raises(UsageError, match="was begun with teachers"):
        train(drawn_dataset, config, tmp_path / "run", resume=True, device="cpu")


def test_teachers_are_asked_once_a_run_and_by_no_run_that_is_refused(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    seen: list[torch.Tensor] = []

    def counted(teachers: Any, pixels: torch.Tensor) -> torch.Tensor:
        assert torch.is_autocast_enabled("cpu")
        asked.append(len(pixels))
        seen.append(pixels)
        return mean_opinion(teachers, pixels)

    monkeypatch.setattr("mien.training.trainer.mean_opinion", counted)
    taught = {"teachers": ["nano"], "teachers_see": "original", "precision": "bfloat16"}
    config = TrainConfig(**(tiny_config.model_dump() | taught | {"epochs": 1}))
    run, images = tmp_path / "run", len(drawn_dataset.usable("train"))
    train(drawn_dataset, config, run, device="cpu")
    assert sum(asked) == 2 * images
    for picture, mirrored in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(picture.flip(-1), mirrored)
    train(drawn_dataset, config, run, resume=True, device="cpu")
    assert sum(asked) == 2 * images
    (run / "opinions.safetensors").unlink()
    with pytest.raises(UsageError, match="add --resume"):
        train(drawn_dataset, config, run, device="cpu")
    assert sum(asked) == 2 * images


@pytest.mark.parametrize("held", [None, torch.zeros(3, 8)], ids=["damaged", "of-other-images"])
def test_opinions_that_do_not_fit_are_not_learnt(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    held: torch.Tensor | None,
) -> None:
    run = tmp_path / "run"
    taught = {"teachers": ["nano"], "teachers_see": "original", "epochs": 1}
    config = TrainConfig(**(tiny_config.model_dump() | taught))
    train(drawn_dataset, config, run, device="cpu")
    if held is None:
        (run / "opinions.safetensors").write_bytes(b"half")
    else:
        write_opinions(run, held)
    with pytest.raises(ModelError, match=r"opinions\.safetensors: .*remove it to ask"):
        train(drawn_dataset, config, run, resume=True, device="cpu")


def test_training_learns(tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig) -> None:
    quick = {"epochs": 16, "batch_size": 16, "size": 24}
    config = TrainConfig(**(tiny_config.model_dump() | CALM | quick))
    history = train(drawn_dataset, config, tmp_path / "run", device="cpu").history
    # A blind guess among eight gets ln 8 = 2.08; 112 faces can be learnt by heart.
    assert history[0]["train_loss"] > 1.9
    assert history[-1]["train_loss"] < 1.5


def test_batches_varied_at_once_are_the_same_batches(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
) -> None:
    """Without anything to vary, how many go at once changes nothing."""
    sizes: list[int] = []
    plain = Augmentation.forward

    def counted(self: Augmentation, images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(Augmentation, "forward", counted)
    losses = []
    for at_once in (1, 2):
        changes = {"flip": 0.0, "varied_at_once": at_once, "epochs": 1}
        config = TrainConfig(**(tiny_config.model_dump() | CALM | changes))
        history = train(drawn_dataset, config, tmp_path / str(at_once), device="cpu").history
        losses.append(history[0]["train_loss"])
    # 112 images are three batches of 32: one by one; then two, and the one that is left.
    assert sizes == [32, 32, 32, 64, 32]
    assert losses[0] == losses[1]


def test_no_batch_is_varied_before_a_step_that_the_run_may_stop_at(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
) -> None:
    """So a run that goes on there draws what it would have drawn."""
    settings = {"varied_at_once": 8, "checkpoint_steps": 2, "epochs": 1}
    config = TrainConfig(**(tiny_config.model_dump() | settings))
    train(drawn_dataset, config, tmp_path / "whole", device="cpu")
    step, taken = Trainer._step, []

    def stopped(self: Trainer, batch: Batch) -> torch.Tensor:
        taken.append(batch)
        if len(taken) == 3:
            raise StopError
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", stopped)
    with pytest.raises(StopError):
        train(drawn_dataset, config, tmp_path / "cut", device="cpu")
    monkeypatch.undo()
    train(drawn_dataset, config, tmp_path / "cut", resume=True, device="cpu")
    whole, cut = (
        (tmp_path / run / "checkpoints/epoch-0001.safetensors").read_bytes()
        for run in ("whole", "cut")
    )
    assert whole == cut


def test_quick_epochs_are_not_each_drawn(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
) -> None:
    """The first and the last are; the others where that takes a small part of the time."""
    drawn: list[int] = []
    monkeypatch.setattr(
        "mien.training.trainer.plots.save_curves", lambda _, history: drawn.append(len(history))
    )
    clock = itertools.count()
    monkeypatch.setattr("mien.training.trainer.time.monotonic", lambda: float(next(clock)))
    config = TrainConfig(**(tiny_config.model_dump() | {"epochs": 4}))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    assert drawn == [1, 4]


def test_a_run_goes_on_from_what_another_learnt(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path, tiny_config: TrainConfig
) -> None:
    """At a rate of next to nothing it stays what it was."""
    settings = {"start_from": str(tiny_run), "learning_rate": 1e-12, "ema": 0.0, "epochs": 1}
    config = TrainConfig(**(tiny_config.model_dump() | settings))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    told = json.loads((tmp_path / "run/run.json").read_text())
    assert told["started_from"] == {str(tiny_run): weights_digest(str(tiny_run))}
    (before, old), (after, new) = (
        read_weights(run / BEST_NAME) for run in (tiny_run, tmp_path / "run")
    )
    lineage = old.lineage()
    assert new.training["started_from"] == [lineage]
    learnt = [name for name in before if name.endswith("weight")]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in learnt)


def test_emotions_that_the_other_run_does_not_know_start_fresh(tiny_run: Path) -> None:
    spec = InputSpec(48, 1)
    network = build("mini", spec=spec, emotions=3)
    *_, weight, bias = network.state_dict()
    fresh = network.state_dict()[weight].clone()
    other = ("surprise", "happiness", "tiredness")
    take_weights(network, str(tiny_run), name="mini", spec=spec, emotions=other)
    taken = network.state_dict()
    tensors, card = read_weights(tiny_run / BEST_NAME)
    for row, emotion in enumerate(other[:2]):
        place = card.labels.index(emotion)
        assert torch.equal(taken[weight][row], tensors[weight][place])
        assert torch.equal(taken[bias][row], tensors[bias][place])
    assert torch.equal(taken[weight][2], fresh[2])
    shared = tensors.keys() - {weight, bias}
    assert all(torch.equal(taken[name], tensors[name]) for name in shared)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"network": "residual"},
            UsageError,
            "48x48 grey; expected residual that .*: --set network=mini$",
        ),
        ({"size": 32}, UsageError, "48x48 grey; expected mini that sees 32x32.*: --set size=48$"),
        (
            {"start_from": "no/run"},
            ModelError,
            "start_from no/run: .*expected a run folder, a file",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_anything_is_made(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_run: Path,
    tiny_config: TrainConfig,
    changes: dict[str, object],
    error: type[Exception],
    says: str,
) -> None:
    settings = tiny_config.model_dump() | {"start_from": str(tiny_run)} | changes
    with pytest.raises(error, match=says):
        train(drawn_dataset, TrainConfig(**settings), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_ctrl_c_in_a_finished_run_is_heeded(
    tmp_path: Path,
    tiny_run: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    real = Trainer.restore

    def restore(self: Trainer, last: object) -> None:
        signal.raise_signal(signal.SIGINT)
        real(self, last)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "restore", restore)
    with pytest.raises(KeyboardInterrupt):
        train(drawn_dataset, tiny_config, tmp_path / "run", resume=True, device="cpu")
