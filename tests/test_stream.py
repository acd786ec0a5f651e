import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
import webdataset
from typer.testing import CliRunner

from mien.cli import app
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.data.stream import STREAM_NAME, Stream, open_data, write_stream
from mien.errors import DatasetError, UsageError
from mien.preprocess import InputSpec
from mien.training import streaming
from mien.training.checkpoint import BEST_NAME, read_weights
from mien.training.labelled import Batch, Labelled
from mien.training.streaming import StreamedSplit
from mien.training.train import train
from mien.training.trainer import Trainer

_Part = TypeVar("_Part")

SPEC = InputSpec(size=48, channels=1)
CPU = torch.device("cpu")


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, ferplus_dataset: Dataset) -> Stream:
    """The drawn faces of FER+, with votes, seven to a file."""
    return write_stream(ferplus_dataset, str(tmp_path_factory.mktemp("s")), images_per_shard=7)


@pytest.fixture
def split(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> StreamedSplit:
    """The training images, three files shuffled at a time."""
    monkeypatch.setattr(streaming, "_WINDOW_BYTES", 3 * 7 * 48 * 48)
    return StreamedSplit(stream, SPEC, soft=True, device=CPU)


def test_a_stream_holds_what_the_dataset_holds_but_for_the_test_images(
    stream: Stream, ferplus_dataset: Dataset
) -> None:
    emotions = ferplus_dataset.emotions
    for name in ("train", "valid"):
        rows = ferplus_dataset.usable(name)
        images = ferplus_dataset.images(rows)
        expected = {image.tobytes(): i for i, image in enumerate(images)}
        targets = ferplus_dataset.targets(rows, emotions)
        labels = ferplus_dataset.labels(rows, emotions)
        found = [each for shard in stream.shards(name) for each in stream.read(shard)]
        assert sorted(expected[each.image.tobytes()] for each in found) == [*range(len(rows))]
        for each in found:
            i = expected[each.image.tobytes()]
            assert each.label == emotions[labels[i]]
            assert np.array_equal(np.array(each.targets, np.float32), targets[i])
        assert stream.counts(name) == [int((labels == i).sum()) for i in range(len(emotions))]
    held = {each.image.tobytes() for shard in stream.shards("valid") for each in stream.read(shard)}
    tested = ferplus_dataset.images(ferplus_dataset.usable("test"))
    assert len(tested)
    assert not held & {image.tobytes() for image in tested}
    assert not list(Path(stream.place).glob("test-*"))


def test_a_stream_and_a_run_on_it_tell_where_the_dataset_came_from(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    part = {"fingerprint": "p", "source_format": "ferplus"}
    came = {"parts": [part], "cleaned": [{"from": "before"}]}
    joined = replace(drawn_dataset, info={**drawn_dataset.info, **came})
    write_stream(joined, str(tmp_path / "stream"))
    config = TrainConfig(**(tiny_config.model_dump() | {"epochs": 1}))
    train(Stream(str(tmp_path / "stream")), config, tmp_path / "run", device="cpu")
    told = json.loads((tmp_path / "run/run.json").read_text())["dataset"]
    assert told["parts"] == [part]
    assert told["cleaned_from"] == ["before"]
    del told["parts"]
    again = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps(again | {"dataset": told}))
    stream = Stream(str(tmp_path / "stream"))
    assert len(train(stream, config, tmp_path / "run", resume=True).history) == 1


# The other program leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_other_programs_read_it(stream: Stream) -> None:
    files = sorted(str(path) for path in Path(stream.place).glob("train-*.tar"))
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("l8"))
    assert len(samples) == sum(shard.images for shard in stream.shards("train"))
    assert samples[0]["png"].shape == (48, 48)
    assert samples[0]["json"]["label"] in stream.emotions


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(split: StreamedSplit) -> None:
    every = [
        each.image for shard in split.stream.shards("train") for each in split.stream.read(shard)
    ]
    assert len(split) == len(every)

    def order(seed: int) -> list[bytes]:
        batches = split.batches(1, len(split), seed=seed)
        return [(batch.pixels * 255).round().byte().numpy().tobytes() for batch in batches]

    assert sorted(order(1)) == sorted(image.tobytes() for image in every)
    assert order(1) == order(1)
    assert order(1) != order(2)


def test_processes_share_each_batch_and_an_epoch_is_entered_anywhere(split: StreamedSplit) -> None:
    steps = len(split) // 8
    assert steps >= 4

    def seen(first: int = 0, part: int = 0, parts: int = 1) -> list[torch.Tensor]:
        batches = split.batches(8, steps, seed=5, first=first, part=part, parts=parts)
        return [batch.pixels for batch in batches]

    whole = seen()
    assert [len(batch) for batch in whole] == [8] * steps
    for alone, *shares in zip(whole, *(seen(part=i, parts=4) for i in range(4)), strict=True):
        assert torch.equal(alone, torch.stack(shares, dim=1).flatten(0, 1))
    for first in range(1, steps):
        later = seen(first)
        assert len(later) == steps - first
        assert all(torch.equal(*pair) for pair in zip(later, whole[first:], strict=True))


def test_what_was_seen_before_is_not_read_again(
    split: StreamedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real: Callable[..., object] = Stream.read

    def noted(self: Stream, shard: object, wanted: object = None) -> object:
        read.append(str(shard))
        return real(self, shard, wanted)

    monkeypatch.setattr(Stream, "read", noted)
    steps = len(split) // 8
    list(split.batches(8, steps, seed=5, first=steps - 1))
    assert 1 <= len(read) <= 3


@pytest.mark.parametrize("whole", [0, 1])
@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "dataset"])
def test_a_run_stopped_within_an_epoch_resumes_bit_for_bit(
    tmp_path: Path,
    stream: Stream,
    ferplus_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    streamed: bool,
    whole: int,
) -> None:
    data = stream if streamed else ferplus_dataset
    changes = {"batch_size": 4, "checkpoint_steps": 2, "epochs": 2, "schedule": "onecycle"}
    config = TrainConfig(**(tiny_config.model_dump() | changes))
    train(data, config, tmp_path / "whole", device="cpu")
    real, taken = Trainer._step, itertools.count()
    steps = sum(ferplus_dataset.info["counts"]["train"].values()) // 4
    assert steps > 4

    def step(self: Trainer, batch: Batch) -> torch.Tensor:
        if next(taken) == whole * steps + 3:
            raise StopError
        return real(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_step", step)
        with pytest.raises(StopError):
            train(data, config, tmp_path / "cut", device="cpu")
    left = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir())
    stem = f"epoch-000{whole}-step-0000002"
    assert left == [f"{stem}.json", f"{stem}.safetensors"]
    torch.manual_seed(12345)
    train(data, config, tmp_path / "cut", resume=True, device="cpu")
    name = "checkpoints/epoch-0002.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    histories = [
        [json.loads(line) for line in (tmp_path / run / "history.jsonl").read_text().splitlines()]
        for run in ("whole", "cut")
    ]
    for of_whole, of_cut in zip(*histories, strict=True):
        assert of_cut["train_loss"] == of_whole["train_loss"]
        assert of_cut["learning_rate"] == of_whole["learning_rate"]
    weights = [read_weights(tmp_path / run / BEST_NAME)[0] for run in ("whole", "cut")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_fewer_images_than_a_batch_are_one(
    tmp_path: Path, stream: Stream, tiny_config: TrainConfig
) -> None:
    config = TrainConfig(**(tiny_config.model_dump() | {"batch_size": 1024, "epochs": 1}))
    train(stream, config, tmp_path / "run", device="cpu")
    whole = StreamedSplit(stream, SPEC, soft=True, device=CPU)
    (batch,) = whole.batches(1024, 1, seed=1)
    assert len(batch.pixels) == len(whole)
    for part in range(3):
        (batch,) = whole.batches(1024, 1, seed=1, part=part, parts=3)
        assert len(batch.pixels) == len(whole) // 3


def test_validation_images_of_a_stream_are_those_of_the_dataset(
    stream: Stream, ferplus_dataset: Dataset
) -> None:
    ours = Labelled.of_stream(stream, "valid", SPEC)
    theirs = Labelled.of(ferplus_dataset, "valid", SPEC, ferplus_dataset.emotions)
    assert torch.equal(ours.counts, theirs.counts)
    assert sorted(map(bytes, ours.packed.numpy())) == sorted(map(bytes, theirs.packed.numpy()))


def test_from_the_command_line(tmp_path: Path, drawn_dataset: Dataset) -> None:
    out, run = tmp_path / "stream", tmp_path / "run"
    command = ["data", "stream", str(drawn_dataset.path), "--out", str(out), "--images", "50"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "train: 112 images in 3 files" in done.stdout
    assert isinstance(open_data(str(out)), Stream)
    assert isinstance(open_data(str(drawn_dataset.path)), Dataset)
    settings = ["--set", "network=mini", "--set", "epochs=1", "--set", "batch_size=32"]
    command = ["train", "--data", str(out), "--out", str(run), "--device", "cpu", *settings]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads((run / "run.json").read_text())["dataset"]["streamed"] is True
    with pytest.raises(UsageError, match="not empty"):
        write_stream(drawn_dataset, str(out))


@pytest.mark.parametrize("setting", [{"emotion_based": True}, {"where": ["relFCs<0.9"]}])
def test_what_needs_images_in_any_order_is_refused(
    tmp_path: Path, stream: Stream, tiny_config: TrainConfig, setting: dict[str, object]
) -> None:
    config = TrainConfig(**(tiny_config.model_dump() | setting))
    with pytest.raises(UsageError, match=f"{next(iter(setting))} needs images in any order"):
        train(stream, config, tmp_path / "run", device="cpu")


def test_what_a_broken_off_writing_left_is_written_anew(
    tmp_path: Path, ferplus_dataset: Dataset, stream: Stream
) -> None:
    def broken_off(items: Iterable[_Part], *, total: int, doing: str) -> Iterator[_Part]:
        yield from itertools.islice(items, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stream(ferplus_dataset, str(tmp_path), images_per_shard=5, progress=broken_off)
    assert (tmp_path / "train-000001.tar").exists()
    (tmp_path / "train-000077.tar").write_text("of more images")
    (tmp_path / "_valid-000000.tar.7.tmp").write_text("half")
    again = write_stream(ferplus_dataset, str(tmp_path), images_per_shard=7)
    assert again.shards("train") == stream.shards("train")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {path.name for path in Path(stream.place).iterdir()}
    for name in names:
        assert (tmp_path / name).read_bytes() == (Path(stream.place) / name).read_bytes()


def test_tar_files_of_others_are_not_touched(tmp_path: Path, ferplus_dataset: Dataset) -> None:
    theirs = tmp_path / "train-000000.tar"
    theirs.write_text("of somebody else")
    with pytest.raises(UsageError, match="is not empty"):
        write_stream(ferplus_dataset, str(tmp_path))
    assert theirs.read_text() == "of somebody else"


def test_one_emotion_makes_no_stream(tmp_path: Path, ferplus_dataset: Dataset) -> None:
    rows = replace(ferplus_dataset, info={**ferplus_dataset.info, "labels": ["fear"]})
    with pytest.raises(DatasetError, match=r"all its images are of fear; expected two or more"):
        write_stream(rows, str(tmp_path / "stream"))
    assert not list(tmp_path.rglob("*.tar"))


def test_damage_is_said_in_one_line(tmp_path: Path, ferplus_dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"no stream\.json to be read there"):
        Stream(str(tmp_path))
    place = tmp_path / "stream"
    stream = write_stream(ferplus_dataset, str(place), images_per_shard=16)
    first, second, *_ = stream.shards("train")
    (place / first.name).unlink()
    with pytest.raises(DatasetError, match=r"train-000000\.tar: missing; write"):
        list(stream.read(first))
    (place / first.name).mkdir()
    with pytest.raises(DatasetError, match=r"train-000000\.tar: cannot be read now"):
        list(stream.read(first))
    whole = (place / second.name).read_bytes()
    (place / second.name).write_bytes(whole[:5000])
    with pytest.raises(DatasetError, match=r"train-000001\.tar: "):
        list(stream.read(second))
    split = StreamedSplit(stream, SPEC, soft=True, device=CPU)
    with pytest.raises(DatasetError, match=r"train-00000\d\.tar: "):
        list(split.batches(8, len(split) // 8, seed=0))
    told = json.loads((place / STREAM_NAME).read_text())
    told["shards"]["train"][0]["name"] = "../elsewhere.tar"
    for text in (json.dumps(told), "{", "[]", "\x00"):
        (place / STREAM_NAME).write_text(text)
        with pytest.raises(DatasetError, match=r"stream\.json: damaged at .*\); write"):
            Stream(str(place))
