"""Tests of turning what a user named into image and video files."""

from pathlib import Path

import pytest

from mien.errors import UsageError
from mien.inputs import find_inputs

FILES = (
    "a.jpg",
    "b.PNG",
    "notes.txt",
    "portrait",
    "odd[1].jpg",
    "deep/c.webp",
    "deep/er/d.tif",
    "texts/readme.md",
    "clips/f.MP4",
    "clips/g.jpg",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content does not matter here")
    (tmp_path / "a_folder.jpg").mkdir()
    (tmp_path / "a_folder.jpg" / "e.gif").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(["a.jpg"], ["a.jpg"], id="file"),
        pytest.param(["notes.txt"], ["notes.txt"], id="file-of-any-suffix"),
        pytest.param(["portrait"], ["portrait"], id="file-without-suffix"),
        pytest.param(["gone.jpg"], ["gone.jpg"], id="missing-is-kept-to-be-reported"),
        pytest.param(["b.PNG", "a.jpg"], ["b.PNG", "a.jpg"], id="order-is-the-users"),
        pytest.param(["deep"], ["deep/c.webp", "deep/er/d.tif"], id="folder-is-searched-whole"),
        pytest.param(["deep/"], ["deep/c.webp", "deep/er/d.tif"], id="folder-with-slash"),
        pytest.param(["clips"], ["clips/f.MP4", "clips/g.jpg"], id="folder-with-a-video"),
        pytest.param(["http://host/?a=*"], ["http://host/?a=*"], id="address-is-no-pattern"),
        pytest.param(["a_folder.jpg"], ["a_folder.jpg/e.gif"], id="folder-named-like-an-image"),
        pytest.param(["*.PNG"], ["b.PNG"], id="pattern"),
        pytest.param(["a*"], ["a.jpg"], id="pattern-skips-folders"),
        pytest.param(["*"], ["a.jpg", "b.PNG", "odd[1].jpg"], id="pattern-takes-images-only"),
        pytest.param(["**/*.tif"], ["deep/er/d.tif"], id="recursive-pattern"),
        pytest.param(["odd[1].jpg"], ["odd[1].jpg"], id="existing-file-is-no-pattern"),
        pytest.param(
            ["deep/er", "a.jpg", "deep/*"],
            ["deep/er/d.tif", "a.jpg", "deep/c.webp"],
            id="mixture",
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_find(sources: list[str], expected: list[str]) -> None:
    assert find_inputs(sources) == (expected, {})


@pytest.mark.usefixtures("here")
def test_hidden_files_of_a_folder_are_not_read_unless_named() -> None:
    for name in ("deep/._c.webp", "deep/.0a.partial.mp4", "deep/.trash/a.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x")
    assert find_inputs(["deep"]).paths == ["deep/c.webp", "deep/er/d.tif"]
    assert find_inputs(["deep/.trash", "deep/._c.webp"]).paths == [
        "deep/.trash/a.jpg",
        "deep/._c.webp",
    ]


def test_absolute_pattern(here: Path) -> None:
    assert find_inputs([f"{here}/deep/*"]).paths == [f"{here}/deep/c.webp"]


@pytest.mark.parametrize(
    ("sources", "without", "expected"),
    [
        pytest.param(["deep"], "deep/er", ["deep/c.webp"], id="within-a-folder"),
        pytest.param(["*/*"], "deep", ["a_folder.jpg/e.gif", "clips/f.MP4", "clips/g.jpg"], id="*"),
        pytest.param(["deep"], ".", ["deep/c.webp", "deep/er/d.tif"], id="around-a-folder"),
        pytest.param(["clips"], "clips/out", ["clips/f.MP4", "clips/g.jpg"], id="not-made-yet"),
        pytest.param(["deep/c.webp"], "deep", ["deep/c.webp"], id="but-a-file-that-is-named"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_is_made_is_not_found(sources: list[str], without: str, expected: list[str]) -> None:
    assert find_inputs(sources, without=Path(without)) == (expected, {})


@pytest.mark.parametrize("source", ["deep", "deep/er/..", "deep/*"])
@pytest.mark.usefixtures("here")
def test_a_folder_is_not_read_into_itself(source: str) -> None:
    with pytest.raises(UsageError, match="choose another folder"):
        find_inputs([source], without=Path("deep"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param(
            "texts", "texts: no image or video in this folder; expected files ending in", id="dir"
        ),
        pytest.param("*.bmp", "the pattern matches no image or video", id="pattern"),
        pytest.param("*.txt", "the pattern matches no image or video", id="pattern-of-texts"),
    ],
)
@pytest.mark.usefixtures("here")
def test_nothing_found(source: str, says: str) -> None:
    found, problems = find_inputs(["a.jpg", source, "b.PNG"])
    assert found == ["a.jpg", "b.PNG"]
    assert list(problems) == [source] and says in problems[source]


@pytest.mark.usefixtures("here")
def test_a_name_that_no_file_can_have_is_kept_to_be_reported() -> None:
    long = "a" * 300
    assert find_inputs([f"{long}.mp4", "a.jpg"]) == ([f"{long}.mp4", "a.jpg"], {})
    found, problems = find_inputs([f"{long}*.mp4", "a.jpg"])
    assert found == ["a.jpg"]
    assert "the pattern matches no image or video" in problems[f"{long}*.mp4"]
