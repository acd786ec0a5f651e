"""What a model tells of the pictures that it has learnt from."""

import pytest

from mien.card import ModelCard
from mien.data.formats import FORMATS
from mien.judging.lineage import knows_pictures_of
from mien.labels import EMOTIONS


def _card(source_format: str) -> ModelCard:
    dataset = {"fingerprint": "of the model", "source_format": source_format}
    return ModelCard(
        name="m",
        network="mini",
        labels=EMOTIONS,
        size=48,
        channels=1,
        parameters=1,
        training={"dataset": dataset},
    )


@pytest.mark.parametrize("name", [*FORMATS, "join"])
def test_a_public_set_is_the_same_pictures_and_ones_own_may_be_any(name: str) -> None:
    info = {"fingerprint": "of the data", "source_format": name}
    assert knows_pictures_of(info, _card(name)) == (
        name not in {"csv", "folder", "parquet", "join", "yolo", "coco", "voc"}
        and name not in {"cvat", "labelme", "labelstudio", "via"}
    )


@pytest.mark.parametrize(
    ("one", "other", "knows"),
    [
        ("ferplus", "fer2013", True),
        ("affectnet-kaggle", "affectnet", True),
        ("affectnet-npy", "affectnet-yolo", True),
        ("rafdb", "ferplus", False),
        ("folder", "csv", False),
    ],
)
def test_editions_of_one_set_share_its_pictures(one: str, other: str, knows: bool) -> None:
    for first, second in ((one, other), (other, one)):
        info = {"fingerprint": "of the data", "source_format": first}
        assert knows_pictures_of(info, _card(second)) == knows
