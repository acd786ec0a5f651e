"""Tests of reading image files from folders and zip archives."""

import os
import zipfile
from pathlib import Path

import pytest

from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError


def _zip(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


FILES = {"b/2.PNG": b"two", "a/1.jpg": b"one", "3.jpeg": b"three", "a/notes.txt": b"no image"}
IMAGES = {"3.jpeg": b"three", "a/1.jpg": b"one", "b/2.PNG": b"two"}


@pytest.mark.parametrize("kind", ["folder", "zip", "folder-with-zip", "folder-with-two-zips"])
def test_images_of_any_source(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        root = _folder(tmp_path, FILES)
    elif kind == "zip":
        root = _zip(tmp_path / "images.zip", FILES, zipfile.ZIP_DEFLATED)
    elif kind == "folder-with-zip":
        root = _folder(tmp_path, {"3.jpeg": b"three"})
        _zip(tmp_path / "rest.zip", {k: v for k, v in FILES.items() if k != "3.jpeg"})
    else:
        root = tmp_path
        _zip(tmp_path / "x.zip", {"3.jpeg": b"three", "a/1.jpg": b"one"})
        _zip(tmp_path / "y.zip", {"b/2.PNG": b"two"})
    with FileTree(root) as tree:
        assert tree.images == sorted(IMAGES)
        assert {path: tree.read(path) for path in tree.images} == IMAGES
        assert "a/1.jpg" in tree
        assert "a/notes.txt" not in tree


def test_links_that_lead_out_and_pipes_are_not_read(tmp_path: Path) -> None:
    root = _folder(tmp_path / "in", {"1.png": b"one", "t.csv": b"a,b"})
    _folder(tmp_path, {"secret.png": b"secret", "secret.csv": b"secret"})
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "out.csv").symlink_to("../secret.csv")
    (root / "in.png").symlink_to("1.png")
    _zip(tmp_path / "secret.zip", {"2.png": b"secret"})
    (root / "out.zip").symlink_to(tmp_path / "secret.zip")
    (root / "far").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.png")
    with FileTree(root, also=[".csv"]) as tree:
        assert tree.images == ["1.png", "in.png", "out.png", "pipe.png"]
        assert any("out.zip: a link that leads out" in note for note in tree.notes)
        assert tree.read("in.png") == b"one"
        with pytest.raises(ImageError, match="leads out"):
            tree.read("out.png")
        with pytest.raises(ImageError, match="no plain file"):
            tree.read("pipe.png")
        with pytest.raises(DatasetError, match=r"out\.csv.*leads out"), tree.open("out.csv"):
            pass
    with FileTree(root / "out.csv", also=[".csv"]) as tree:
        assert tree.read("out.csv") == b"secret"


def test_what_is_hidden_is_passed_over_and_told(tmp_path: Path) -> None:
    files = {".ipynb_checkpoints/1-checkpoint.jpg": b"", "a/.2.png": b"", "a/._2.png": b""}
    _folder(tmp_path, files | {"a/1.jpg": b"", ".DS_Store": b""} | {"a/.t.csv": b""})
    with FileTree(tmp_path, also=[".csv"]) as tree:
        assert (tree.pictured, tree.others) == (["a/1.jpg"], [])
        assert tree.hidden == [".ipynb_checkpoints/1-checkpoint.jpg", "a/.2.png"]
        assert any(
            note.endswith("(and 1 more): hidden, so passed over unless a table names it")
            for note in tree.notes
        )
        assert tree.read("a/.2.png") == b""


def test_a_file_goes_before_an_archives_member(tmp_path: Path) -> None:
    _folder(tmp_path, {"a/1.jpg": b"unpacked"})
    _zip(tmp_path / "images.zip", {"a/1.jpg": b"packed"})
    with FileTree(tmp_path) as tree:
        assert tree.read("a/1.jpg") == b"unpacked"


def test_archives_with_files_of_one_name_stand_for_folders(tmp_path: Path) -> None:
    _zip(tmp_path / "train.zip", {"happy/0.png": b"learnt", "happy/1.png": b"too"})
    _zip(tmp_path / "TEST.ZIP", {"happy/0.png": b"tested"})
    (tmp_path / "._train.zip").write_bytes(b"what a Mac leaves on other disks")
    with FileTree(tmp_path) as tree:
        assert {path: tree.read(path) for path in tree.images} == {
            "train/happy/0.png": b"learnt",
            "train/happy/1.png": b"too",
            "TEST/happy/0.png": b"tested",
        }


def test_archives_with_the_same_file_are_one_folder(tmp_path: Path) -> None:
    for name, own in (("a", "1.jpg"), ("b", "2.jpg"), ("b (1)", "2.jpg")):
        _zip(tmp_path / f"{name}.zip", {"labels.csv": b"path,label", own: own.encode()})
    with FileTree(tmp_path, also=[".csv"]) as tree:
        assert (tree.images, tree.others) == (["1.jpg", "2.jpg"], ["labels.csv"])


@pytest.mark.parametrize("name", ["archive", "train"])
def test_an_archive_beside_its_unpacked_folder_is_not_there_twice(
    tmp_path: Path, name: str
) -> None:
    members = {f"{split}/happy/{i}.png": b"x" for split in ("train", "test") for i in range(8)}
    unpacked = sorted(f"{name}/{path}" for path in members)
    _zip(tmp_path / f"{name}.zip", members)
    _folder(tmp_path / name, dict.fromkeys([*members][1:], b"unpacked"))
    with FileTree(tmp_path) as tree:
        assert tree.images == unpacked
        assert [tree.read(path) for path in unpacked].count(b"unpacked") == 15


def test_archives_in_folders_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "Image").mkdir()
    _zip(tmp_path / "Image/aligned.zip", {"aligned/1.jpg": b"one", "aligned/2.jpg": b"two"})
    _folder(tmp_path, {"Image/aligned/2.jpg": b"unpacked"})
    with FileTree(tmp_path) as tree:
        assert {path: tree.read(path) for path in tree.images} == {
            "Image/aligned/1.jpg": b"one",
            "Image/aligned/2.jpg": b"unpacked",
        }


def test_archives_of_two_folders_hide_nothing_of_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    _zip(tmp_path / "all.zip", {"a/1.jpg": b"outer", "a/2.jpg": b"same"})
    _zip(tmp_path / "a/b.zip", {"1.jpg": b"inner", "2.jpg": b"same"})
    with FileTree(tmp_path) as tree:
        assert {tree.read(path) for path in tree.images} == {b"outer", b"inner", b"same"}


def test_an_archive_in_an_archive_is_told(tmp_path: Path) -> None:
    with FileTree(_zip(tmp_path / "x.zip", {"a.jpg": b"x", "in/y.zip": b"more"})) as tree:
        assert [note.rpartition("/")[2] for note in tree.notes] == [
            "y.zip: an archive in an archive, which is not opened"
        ]


def test_folders_that_are_not_looked_into_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _folder(tmp_path / "in", {"a/1.png": b"one", "closed/2.png": b"two"})
    (root / "far").symlink_to(_folder(tmp_path / "else", {"3.png": b"three"}))
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(
        os, "scandir", refuse
    )  # as root, who runs tests in containers, may read all
    with FileTree(root) as tree:
        assert tree.images == ["a/1.png"]
        assert sorted(note.partition(": ")[2] for note in tree.notes) == [
            "a folder that cannot be read (Permission denied)",
            "a link to a folder, which is not followed",
        ]


def test_members_that_would_climb_out_are_only_read(tmp_path: Path) -> None:
    root = _zip(tmp_path / "evil.zip", {"../evil.jpg": b"x", "/etc/evil.png": b"y"})
    with FileTree(root) as tree:
        assert [tree.read(path) for path in tree.images] == [b"x", b"y"]
    assert list(tmp_path.iterdir()) == [root]
    assert not (tmp_path.parent / "evil.jpg").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "nothing there", id="missing"),
        pytest.param(b"I am a text", "a file that is no zip archive", id="no-archive"),
        pytest.param(b"", "a file that is no zip archive", id="empty"),
    ],
)
def test_no_source(tmp_path: Path, content: bytes | None, says: str) -> None:
    root = tmp_path / "source"
    if content is not None:
        root.write_bytes(content)
    with pytest.raises(DatasetError, match=f"source: expected a folder or a zip .*{says}"):
        FileTree(root)


def test_damaged_archive_in_a_folder(tmp_path: Path) -> None:
    _zip(tmp_path / "a.zip", {"1.jpg": b"fine"})
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:20])
    with pytest.raises(DatasetError, match=r"b\.zip: not a readable zip archive"):
        FileTree(tmp_path)


METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [0, 6, 11, 40], ids=lambda place: f"byte-{place}")
def test_damaged_member(tmp_path: Path, method: str, place: int) -> None:
    content = bytes(i * i % 251 for i in range(2000))
    root = _zip(tmp_path / "x.zip", {"a.jpg": content, "b.jpg": b"whole"}, METHODS[method])
    data = bytearray(root.read_bytes())
    start = 30 + len("a.jpg") + place  # a local header has 30 bytes, then the name
    data[start : start + 20] = b"\xff" * 20
    root.write_bytes(bytes(data))
    with FileTree(root) as tree:
        with pytest.raises(ImageError, match=r"^(damaged in its archive|cannot be read)"):
            tree.read("a.jpg")
        assert tree.read("b.jpg") == b"whole"


def test_encrypted_member(tmp_path: Path) -> None:
    root = _zip(tmp_path / "x.zip", {"a.jpg": b"secret"})
    data = bytearray(root.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    root.write_bytes(bytes(data))
    with FileTree(root) as tree, pytest.raises(ImageError, match="damaged in its archive"):
        tree.read("a.jpg")


@pytest.mark.parametrize("gone", [False, True], ids=["never-there", "removed-meanwhile"])
def test_missing_file(tmp_path: Path, gone: bool) -> None:
    _folder(tmp_path, {"a.jpg": b"x"})
    with FileTree(tmp_path) as tree:
        (tmp_path / "a.jpg").unlink()
        says = "cannot be read .No such file" if gone else "no such image in the source"
        with pytest.raises(ImageError, match=says) as caught:
            tree.read("a.jpg" if gone else "b.jpg")
    assert str(tmp_path) not in str(caught.value), "reasons are counted: they name no file"


def test_archives_are_closed(tmp_path: Path) -> None:
    with FileTree(_zip(tmp_path / "x.zip", {"a.jpg": b"x"})) as tree:
        assert tree.read("a.jpg") == b"x"
    with pytest.raises(ValueError, match="closed"):
        tree.read("a.jpg")
