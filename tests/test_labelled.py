"""Tests of what a network is given: pixels, targets, weights, and which images."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from mien.data.dataset import Dataset
from mien.errors import DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec, fit
from mien.records import SPLITS
from mien.training.labelled import Labelled


def test_pixels_and_labels_are_those_of_the_rows(drawn_dataset: Dataset) -> None:
    spec = InputSpec(size=24)
    data = Labelled.of(drawn_dataset, "valid", spec, EMOTIONS)
    assert len(data) == len(drawn_dataset.usable("valid"))
    image = fit(drawn_dataset.images(data.rows[3:4])[0], spec)
    seen = data.pixels(torch.tensor([3]))
    np.testing.assert_allclose(seen[0, 0].numpy(), image[..., 0] / 255, atol=1e-6)
    assert data.targets[3].argmax() == data.labels[3]
    assert drawn_dataset.column("label")[data.rows[3]] == EMOTIONS[data.labels[3]]


def test_votes_are_learnt_unless_the_label_is_asked_for(drawn_dataset: Dataset) -> None:
    votes = [[0.5, 0.5, 0, 0, 0, 0, 0, 0]] * len(drawn_dataset)
    voted = drawn_dataset.with_column("votes", votes)
    soft = Labelled.of(voted, "valid", InputSpec(), EMOTIONS)
    hard = Labelled.of(voted, "valid", InputSpec(), EMOTIONS, soft=False)
    assert soft.targets.max() == 0.5
    assert set(hard.targets.unique().tolist()) == {0.0, 1.0}


def test_weights_come_from_the_manifest(drawn_dataset: Dataset) -> None:
    weights = [None if i % 2 else 0.25 for i in range(len(drawn_dataset))]
    data = Labelled.of(drawn_dataset.with_column("weight", weights), "train", InputSpec(), EMOTIONS)
    expected = [1.0 if row % 2 else 0.25 for row in data.rows]
    assert data.weights.tolist() == expected


def test_conditions_choose_images(ferplus_dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"relFCs<0\.9: the dataset's own numbers are none"):
        Labelled.of(ferplus_dataset, "train", InputSpec(), EMOTIONS, where=["relFCs<0.9"])


def test_what_has_no_number_meets_every_condition(drawn_dataset: Dataset) -> None:
    numbers = [None if row % 3 == 0 else row % 2 for row in range(len(drawn_dataset))]
    column = pa.array(numbers, pa.float64())
    numbered = replace(
        drawn_dataset,
        manifest=drawn_dataset.manifest.append_column("relFCs", column),
        info={**drawn_dataset.info, "values": ["relFCs"]},
    )
    chosen = Labelled.of(numbered, "train", InputSpec(), EMOTIONS, where=["relFCs<0.5"])
    expected = [row for row in numbered.usable("train").tolist() if numbers[row] in {None, 0}]
    assert chosen.rows.tolist() == expected


def test_an_empty_split_is_one_line(drawn_dataset: Dataset) -> None:
    nothing = drawn_dataset.with_column("excluded", ["gone"] * len(drawn_dataset))
    for split in SPLITS:
        with pytest.raises(DatasetError, match=f"no usable image in split '{split}'"):
            Labelled.of(nothing, split, InputSpec(), EMOTIONS)
