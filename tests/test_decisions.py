"""What people decided by eye: reading it, cleaning by it, and the page on which it is decided."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from typer.testing import CliRunner

from browser import CHROMIUM, FLAGS, in_browser
from mien.cli import app
from mien.data.audit.auditor import audit_dataset, keep_together
from mien.data.audit.findings import Audit, Finding
from mien.data.audit.review import render_review
from mien.data.clean import clean_dataset
from mien.data.dataset import PART, Dataset
from mien.data.decisions import APART, DROP, KEEP, Decisions, read_decisions
from mien.data.importers import import_dataset
from mien.data.join import join_datasets
from mien.data.rules import Rules
from mien.drawn import draw_face, sample_parameters
from mien.errors import UsageError
from mien.images import write_image
from mien.labels import EMOTIONS

HOSTILE = "=1+<script>alert(1)<!--,\"'.png"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two drawn faces an emotion, two dark ones, two of one picture, one with a hostile name."""
    root = tmp_path_factory.mktemp("decisions")
    for number in range(16):
        emotion = EMOTIONS[number % 8]
        image = draw_face(sample_parameters(emotion, seed=number), size=48)
        if number < 2:
            image //= 12
        name = HOSTILE if number == 15 else f"{number:02d}.png"
        (root / "source/train" / emotion).mkdir(parents=True, exist_ok=True)
        write_image(root / "source/train" / emotion / name, image)
        if number == 7:
            write_image(root / "source/train" / emotion / "copy.png", image)
    import_dataset("folder", root / "source", root / "dataset", size=48, channels=1)
    return Dataset.open(root / "dataset")


def _row(dataset: Dataset, name: str) -> int:
    return [Path(path).name for path in dataset.column("path")].index(name)


def _id(dataset: Dataset, name: str) -> str:
    return str(dataset.column("id")[_row(dataset, name)])


def _written(tmp_path: Path, text: str) -> Path:
    (file := tmp_path / "decisions.csv").write_text(text, encoding="utf-8")
    return file


# Reading


@pytest.mark.parametrize("apart", [",", ";", "\t"])
@pytest.mark.parametrize("key", ["id", "path"])
def test_a_csv_from_anywhere_is_read(faces: Dataset, tmp_path: Path, apart: str, key: str) -> None:
    said = {"02.png": "keep", "03.png": "Sad", "04.png": " drop ", "05.png": "", "06.png": "fear"}
    said["08.png"] = "Apart"
    rows = [f" Decision {apart}note{apart}{key.upper()}"]
    for name, what in said.items():
        place = faces.column(key)[_row(faces, name)]
        rows.append(f'{what}{apart}"a{apart} ""b"""{apart}{place}')
    found = read_decisions(_written(tmp_path, "\ufeff" + "\r\n".join(rows)), faces)
    assert found.of == {
        _id(faces, "02.png"): KEEP,
        _id(faces, "03.png"): "sadness",
        _id(faces, "04.png"): DROP,
        _id(faces, "06.png"): "fear",
        _id(faces, "08.png"): APART,
    }
    assert found.counts == {"keep": 1, "drop": 1, "apart": 1, "relabel": 2}
    assert found.elsewhere == 0


def test_the_label_that_a_picture_has_is_right(faces: Dataset, tmp_path: Path) -> None:
    text = f"id,decision\n{_id(faces, '01.png')},Happy\n{_id(faces, '02.png')},happy\n"
    found = read_decisions(_written(tmp_path, text), faces)
    assert found.of == {_id(faces, "01.png"): KEEP, _id(faces, "02.png"): "happiness"}


def test_pictures_that_are_gone_are_counted(faces: Dataset, tmp_path: Path) -> None:
    text = f"id,decision\n{_id(faces, '02.png')},keep\ngone,drop\ngone,drop\nlost,fear\n"
    assert read_decisions(_written(tmp_path, text), faces).elsewhere == 2


def test_an_id_that_a_spreadsheet_spoilt_is_found_by_its_path(
    faces: Dataset, tmp_path: Path
) -> None:
    path = faces.column("path")[_row(faces, "02.png")]
    text = f"id,path,decision\n1.2E+15,{path},Drop\n1.3E+15,gone.png,keep\n"
    found = read_decisions(_written(tmp_path, text), faces)
    assert (found.of, found.elsewhere) == ({_id(faces, "02.png"): DROP}, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its columns are none; expected 'decision', and 'id' or 'path'"),
        ("id,label\n1,fear\n", "its columns are id, label; expected 'decision'"),
        ("decision\nkeep\n", "its columns are decision; expected 'decision', and 'id'"),
        ("id,decision\n{id},keep\n{id},fear\n", "line 3: {id} is decided twice, as keep and as"),
        (
            "id,decision\n\n{id},maybe\n",
            "line 3: decision 'maybe'; expected keep, drop, apart or one",
        ),
        ("id,decision\nx,keep\ny,fear\n", "none of its 2 pictures (x, y) is in"),
        ('id,decision\n"x,keep\n', "not readable as a csv"),
    ],
)
def test_what_is_no_decision_is_told(faces: Dataset, tmp_path: Path, text: str, said: str) -> None:
    one = _id(faces, "02.png")
    file = _written(tmp_path, text.replace("{id}", one))
    with pytest.raises(UsageError, match=re.escape(said.replace("{id}", one))):
        read_decisions(file, faces)


def test_what_is_no_text_is_told(faces: Dataset, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"id,decision\n\xff\xfe\n")
    for name, said in (("x.csv", "as a csv .*UTF-8"), ("gone.csv", "No such file"), ("", "Is a")):
        with pytest.raises(UsageError, match=f"not readable.*{said}"):
            read_decisions(tmp_path / name, faces)


def test_a_path_of_several_rows_asks_for_ids(faces: Dataset, tmp_path: Path) -> None:
    twice = faces.with_column("path", ["a.png", "a.png", *faces.column("path")[2:]])
    with pytest.raises(UsageError, match=r"2 rows have the path a\.png; expected a column 'id'"):
        read_decisions(_written(tmp_path, "path,decision\na.png,keep\n"), twice)


# Cleaning


def _cleaned(
    dataset: Dataset, out: Path, rules: Rules, **decided: str
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Clean by decisions about files by their stems; return rows by stem, and the changes."""
    of = {_id(dataset, f"{stem.strip('_')}.png"): what for stem, what in decided.items()}
    clean_dataset(dataset, out, rules, decisions=Decisions(of))
    lines = (out / "changes.jsonl").read_text(encoding="utf-8").splitlines()
    rows = Dataset.open(out).manifest.to_pylist()
    return {Path(row["path"]).stem: row for row in rows}, [json.loads(line) for line in lines]


def test_decisions_change_their_pictures_and_are_on_record(faces: Dataset, tmp_path: Path) -> None:
    rows, changes = _cleaned(faces, tmp_path / "out", Rules(), _02=KEEP, _03="fear", _04=DROP)
    assert rows["02"]["label"] == EMOTIONS[2]
    assert rows["03"]["label"] == "fear"
    assert "04" not in rows
    assert len(rows) == len(faces) - 1
    told = {Path(change["path"]).stem: change for change in changes}
    assert set(told) == {"03", "04"}
    assert {change["reason"] for change in changes} == {"decided by eye"}
    assert (told["03"]["from"], told["03"]["to"]) == (EMOTIONS[3], "fear")
    assert told["04"]["from"]["label"] == EMOTIONS[4]
    step = Dataset.open(tmp_path / "out").info["cleaned"][-1]
    assert step["decisions"] == {"keep": 1, "drop": 1, "apart": 0, "relabel": 1}


def test_what_was_decided_no_rule_judges_again(faces: Dataset, tmp_path: Path) -> None:
    assert {"flat", "dark"} & {finding.kind for finding in audit_dataset(faces).findings}
    folders = faces.with_column("folder_label", ["anger"] * len(faces))
    rules = Rules(drop=("flat", "dark"), label_from="folder")
    rows, _ = _cleaned(folders, tmp_path / "out", rules, _00=KEEP, _03="fear")
    assert rows["00"]["label"] == EMOTIONS[0]
    assert "01" not in rows
    assert rows["03"]["label"] == "fear"
    assert rows["04"]["label"] == "anger"


def test_decided_emotions_are_merged_like_others(faces: Dataset, tmp_path: Path) -> None:
    rules = Rules(merge={"contempt": "disgust"})
    rows, _ = _cleaned(faces, tmp_path / "out", rules, _02="contempt")
    assert rows["02"]["label"] == "disgust"


@pytest.mark.parametrize("what", ["fear", KEEP])
def test_votes_against_a_decision_go(ferplus_dataset: Dataset, tmp_path: Path, what: str) -> None:
    row = ferplus_dataset.column("label").index("anger")
    name = ferplus_dataset.column("id")[row]
    clean_dataset(ferplus_dataset, tmp_path / "out", Rules(), decisions=Decisions({name: what}))
    after = Dataset.open(tmp_path / "out")
    votes = after.column("votes")[after.column("id").index(name)]
    assert (votes is None) == (what != KEEP)


def test_the_folder_does_not_undo_a_decision(faces: Dataset, tmp_path: Path) -> None:
    folders = faces.with_column("folder_label", ["anger"] * len(faces))
    _cleaned(folders, tmp_path / "once", Rules(), _02=KEEP, _03="fear")
    again = Dataset.open(tmp_path / "once")
    rows, _ = _cleaned(again, tmp_path / "twice", Rules(label_from="folder"))
    assert [rows[stem]["label"] for stem in ("02", "03", "04")] == [EMOTIONS[2], "fear", "anger"]


def test_deciding_twice_changes_nothing(faces: Dataset, tmp_path: Path) -> None:
    said = {_id(faces, "02.png"): KEEP, _id(faces, "03.png"): "fear"}
    decisions = Decisions(said)
    rules = Rules(drop=("flat", "dark"))
    clean_dataset(faces, tmp_path / "once", rules, decisions=decisions)
    once = Dataset.open(tmp_path / "once")
    _, changes = clean_dataset(once, tmp_path / "twice", rules, decisions=decisions)
    assert changes == {}
    assert Dataset.open(tmp_path / "twice").manifest.equals(once.manifest)


def test_the_command_cleans_by_decisions_alone(faces: Dataset, tmp_path: Path) -> None:
    file = _written(tmp_path, f"id,decision\n{_id(faces, '04.png')},drop\ngone,keep\n")
    call = ["data", "clean", str(faces.path), "--out", str(tmp_path / "out")]
    assert "--decisions" in str(CliRunner().invoke(app, call).exception)
    ran = CliRunner().invoke(app, [*call, "--decisions", str(file)])
    assert ran.exit_code == 0
    assert "decisions about pictures that it has not: 1" in ran.output
    assert "changes: 1 drop" in ran.output


def test_blanks_around_an_id_do_not_matter(faces: Dataset, tmp_path: Path) -> None:
    one = _id(faces, "02.png")
    file = _written(tmp_path, f"id , decision\n {one} , keep\n")
    assert read_decisions(file, faces).of == {one: KEEP}


@pytest.mark.parametrize(
    ("decided", "stay"),
    [
        ({}, {"03"}),
        ({"02": KEEP}, {"03", "02"}),
        ({"02": KEEP, "04": "sadness"}, {"03", "04"}),  # first by name
        ({"02": "surprise"}, {"03"}),
        ({"02": KEEP, "04": KEEP}, {"03", "02", "04"}),
    ],
)
def test_near_copies_that_an_eye_told_apart_stay(
    faces: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decided: dict[str, str],
    stay: set[str],
) -> None:
    """02 shows sadness, 03, in the split that tests, surprise, 04 fear."""
    splits = faces.column("split")
    for name, split in (("02.png", "train"), ("03.png", "test"), ("04.png", "train")):
        splits[_row(faces, name)] = split
    apart = faces.with_column("split", splits)
    audit = _audit(apart, _finding(apart, "near_duplicate", "02.png", "03.png", "04.png"))
    monkeypatch.setattr("mien.data.clean.audit_dataset", lambda *args, **options: audit)
    decisions = Decisions({_id(faces, f"{name}.png"): what for name, what in decided.items()})
    clean_dataset(apart, tmp_path / "out", Rules(drop=("near_duplicate",)), decisions=decisions)
    left = {Path(path).stem for path in Dataset.open(tmp_path / "out").column("path")}
    assert {"02", "03", "04"} & left == stay


@pytest.mark.parametrize("kind", ["duplicate", "leak"])
def test_copies_of_these_kinds_go_whatever_was_decided(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    splits = faces.column("split")
    splits[_row(faces, "02.png")], splits[_row(faces, "03.png")] = "train", "test"
    apart = faces.with_column("split", splits)
    audit = _audit(apart, _finding(apart, kind, "02.png", "03.png", by="pixels"))
    monkeypatch.setattr("mien.data.clean.audit_dataset", lambda *args, **options: audit)
    kept = Decisions({_id(faces, name): KEEP for name in ("02.png", "03.png")})
    clean_dataset(apart, tmp_path / "out", Rules(drop=(kind,)), decisions=kept)
    names = {Path(path).name for path in Dataset.open(tmp_path / "out").column("path")}
    assert {"02.png", "03.png"} & names == {"03.png"}


def test_of_copies_the_one_that_was_looked_at_stays(faces: Dataset, tmp_path: Path) -> None:
    """Whichever of the two that is."""
    splits = ["train"] * len(faces)
    for name, other in (("07.png", "copy.png"), ("copy.png", "07.png")):
        seen, out = Decisions({_id(faces, name): "anger"}), tmp_path / name
        together = faces.with_column("split", splits)
        clean_dataset(together, out, Rules(drop=("duplicate",)), decisions=seen)
        cleaned = Dataset.open(out)
        names = [Path(path).name for path in cleaned.column("path")]
        assert name in names and other not in names
        assert cleaned.column("label")[names.index(name)] == "anger"


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One picture three times, the middle one mirrored and in the test split, with a copy of it."""
    root = tmp_path_factory.mktemp("alike")
    face = draw_face(sample_parameters("fear", seed=1), size=48)
    pictures = {
        "train/fear/one": face,
        "test/sad/two": face[:, ::-1],
        "train/fear/three": face // 2 + 60,
        "test/sad/copy": face[:, ::-1],
    }
    for number in range(8):
        emotion = EMOTIONS[number]
        pictures[f"valid/{emotion}/{number}"] = draw_face(
            sample_parameters(emotion, seed=20 + number), size=48
        )
    for name, image in pictures.items():
        (root / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / f"source/{name}.png", image)
    import_dataset("folder", root / "source", root / "dataset", size=48, channels=1)
    return Dataset.open(root / "dataset")


@pytest.mark.parametrize(
    ("told", "groups", "leaks"),
    [
        ((), [{"one", "two", "three", "copy"}], 1),
        (("two",), [{"one", "three"}], 0),
        (("copy",), [{"one", "three"}], 0),  # which is of the same pixels
        (("one",), [{"two", "three", "copy"}], 1),
        (("one", "two"), [], 0),
    ],
)
def test_what_an_eye_tells_apart_is_no_near_copy(
    alike: Dataset, tmp_path: Path, told: tuple[str, ...], groups: list[set[str]], leaks: int
) -> None:
    apart = {_id(alike, f"{name}.png") for name in told}
    audit = audit_dataset(alike, apart=apart)
    found = [
        {Path(path).stem for path in finding.paths} for finding in audit.of_kind("near_duplicate")
    ]
    assert found == groups
    assert len(audit.of_kind("leak")) == leaks
    assert len(audit.of_kind("duplicate")) == 1
    rules = Rules(drop=("near_duplicate", "leak"))
    decisions = Decisions(dict.fromkeys(apart, APART))
    clean_dataset(alike, tmp_path / "out", rules, decisions=decisions)
    left = {Path(path).stem for path in Dataset.open(tmp_path / "out").column("path")}
    assert set(told) <= left
    assert [len(group & left) for group in groups] == [1] * len(groups)


def test_a_dataset_keeps_in_mind_what_an_eye_told_apart(
    alike: Dataset, faces: Dataset, tmp_path: Path
) -> None:
    apart = {_id(alike, f"{name}.png"): APART for name in ("one", "two")}
    clean_dataset(alike, tmp_path / "out", Rules(), decisions=Decisions(apart))
    cleaned = Dataset.open(tmp_path / "out")
    assert cleaned.apart == apart.keys()
    assert not audit_dataset(cleaned).of_kind("near_duplicate")

    clean_dataset(cleaned, tmp_path / "again", Rules(drop=("near_duplicate", "leak")))
    assert Dataset.open(tmp_path / "again").apart == apart.keys()
    assert len(Dataset.open(tmp_path / "again")) == len(alike)
    join_datasets([cleaned, faces], tmp_path / "joined")
    joined = Dataset.open(tmp_path / "joined")
    paths = dict(zip(joined.column("id"), joined.column("path"), strict=True))
    assert {Path(paths[name]).stem for name in joined.apart} == {"one", "two"}
    assert not audit_dataset(joined).of_kind("near_duplicate")

    gone = {_id(alike, "one.png"): DROP}
    clean_dataset(cleaned, tmp_path / "less", Rules(), decisions=Decisions(gone))
    assert Dataset.open(tmp_path / "less").apart == {_id(alike, "two.png")}


ALL = {"one", "two", "three", "copy"}


@pytest.mark.parametrize(
    ("shown", "group", "leaks"),
    [
        ({}, ALL, 1),
        ({"one": "A", "two": "B"}, ALL, 1),  # by three, who is nobody known
        ({"one": "A", "copy": "B", "three": "A"}, {"one", "three"}, 0),
        ({"one": "A", "two": "B", "three": "A"}, {"one", "three"}, 0),
        ({"one": "A", "two": "A"}, ALL, 2),  # by the person, too
    ],
)
def test_near_copies_that_name_different_people_are_none(
    alike: Dataset, shown: dict[str, str], group: set[str], leaks: int
) -> None:
    """Neither findings, nor leaks, nor kept together; but equal pixels are, whoever they name."""
    subjects = [shown.get(Path(path).stem) for path in alike.column("path")]
    named = alike.with_column("subject", subjects)
    audit = audit_dataset(named)
    (found,) = audit.of_kind("near_duplicate")
    assert {Path(path).stem for path in found.paths} == group
    assert (len(audit.of_kind("leak")), len(audit.of_kind("duplicate"))) == (leaks, 1)
    of = dict(
        zip(map(Path, named.column("path")), keep_together(named, audit.findings), strict=True)
    )
    numbers = {path.stem: number for path, number in of.items() if path.stem in ALL}
    assert {stem for stem, number in numbers.items() if number == numbers["one"]} == group
    assert numbers["two"] == numbers["copy"]


def test_people_of_joined_parts_may_be_the_same_by_other_names(
    alike: Dataset, tmp_path: Path
) -> None:
    """So near copies across parts are copies, whatever they name."""
    parts = ["a" if "train" in path else "b" for path in alike.column("path")]
    joined = replace(
        alike,
        manifest=alike.manifest.append_column(PART, pa.array(parts)),
        info={**alike.info, "parts": [{"name": name, **alike.info} for name in ("a", "b")]},
    )
    subjects = [f"{part}/S00" for part in parts]
    audit = audit_dataset(joined.with_column("subject", subjects))
    (group,) = audit.of_kind("near_duplicate")
    assert {Path(path).stem for path in group.paths} == {"one", "two", "three", "copy"}


def test_what_is_told_apart_may_lie_in_another_split(alike: Dataset, tmp_path: Path) -> None:
    """Nothing ties pictures together but their pixels."""
    names = ("one.png", "two.png", "three.png")
    apart = Decisions({_id(alike, name): APART for name in names})
    found = set()
    for seed in range(8):
        out = tmp_path / str(seed)
        clean_dataset(alike, out, Rules(split=(50, 25, 25), seed=seed), decisions=apart)
        drawn = Dataset.open(out)
        splits = [drawn.column("split")[_row(drawn, name)] for name in (*names, "copy.png")]
        assert splits[1] == splits[3]
        found.add(len(set(splits)))
    assert max(found) > 1


# The page


def _audit(dataset: Dataset, *findings: Finding) -> Audit:
    return replace(audit_dataset(dataset), findings=findings)


def _finding(dataset: Dataset, kind: str, *names: str, **evidence: Any) -> Finding:
    rows = tuple(_row(dataset, name) for name in names)
    return Finding(kind, rows, tuple(dataset.column("path")[row] for row in rows), evidence)


def _findings(dataset: Dataset) -> tuple[Finding, ...]:
    return (
        _finding(dataset, "label_suspect", "02.png", label="sadness", rather="fear", suspicion=0.9),
        _finding(dataset, "label_suspect", HOSTILE, label="x", rather="anger", suspicion=0.8),
        _finding(dataset, "dark", "00.png", lightest=3.0),
        _finding(dataset, "duplicate", "07.png", "copy.png"),
    )


def test_the_page_holds_pictures_of_what_an_eye_can_decide(faces: Dataset) -> None:
    text = render_review(_audit(faces, *_findings(faces)), faces)
    told = json.loads(text.partition('id="told">')[2].partition("</script>")[0])
    assert [kind["title"] for kind in told["kinds"]] == ["Suspect labels", "Dark images"]
    assert set(told["rows"]) == {_id(faces, name) for name in ("02.png", HOSTILE, "00.png")}
    assert told["kinds"][0]["pictures"][0] == {
        "id": _id(faces, "02.png"),
        "rather": "fear",
        "why": "suspicion 0.9",
        "like": None,
    }
    assert "<script>alert" not in text
    assert "3 pictures to decide by eye" in text
    few = render_review(_audit(faces, *_findings(faces)), faces, per_kind=1)
    assert '"more": 1' in few and "2 pictures to decide by eye" in few


def test_copies_say_which_of_how_many_they_are(faces: Dataset) -> None:
    finding = _finding(faces, "label_conflict", "07.png", "copy.png", labels={"fear": 2})
    text = render_review(_audit(faces, finding), faces)
    told = json.loads(text.partition('id="told">')[2].partition("</script>")[0])
    said = [picture["why"] for picture in told["kinds"][0]["pictures"]]
    assert said == ["copy 1 of 2, labels fear 2", "copy 2 of 2, labels fear 2"]


def test_near_copies_are_shown_beside_what_they_are_most_like(alike: Dataset) -> None:
    text = render_review(audit_dataset(alike), alike)
    told = json.loads(text.partition('id="told">')[2].partition("</script>")[0])
    kinds = {kind["title"]: kind["pictures"] for kind in told["kinds"]}
    ids = {name: _id(alike, f"{name}.png") for name in ("one", "two", "three", "copy")}
    shown = {picture["id"]: picture for picture in kinds["Near copies"]}
    assert len(shown) == 3 and set(shown) < set(ids.values())
    for picture in shown.values():
        assert picture["like"] in ids.values() and picture["like"] != picture["id"]
        assert re.fullmatch(r"copy \d of 4, similarity (0\.9[7-9]\d*|1)", picture["why"])
    audit = audit_dataset(alike)
    for picture in kinds["Copies with different labels"]:
        row = alike.column("id").index(picture["id"])
        if row in audit.likest:
            assert f"similarity {audit.likest[row].similarity:.4g}" in picture["why"]
    assert {picture["id"] for picture in kinds["Copies with different labels"]} == set(ids.values())
    assert set(ids.values()) <= set(told["rows"])
    few = render_review(audit_dataset(alike), alike, per_kind=1)
    assert all(f'"id": "{picture["like"]}"' in few for picture in kinds["Near copies"][:1])


def test_a_row_without_a_picture_is_not_for_the_eye(faces: Dataset) -> None:
    bare = faces.with_column("shard", [None] * len(faces))
    text = render_review(_audit(faces, *_findings(faces)), bare)
    assert "Nothing to decide by eye" in text
    assert "<script" not in text


def test_the_audit_writes_both_pages(faces: Dataset, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["data", "audit", str(faces.path), "--out", str(tmp_path)])
    assert ran.exit_code == 0
    assert "pictures to decide by eye" in (tmp_path / "review.html").read_text(encoding="utf-8")
    assert (tmp_path / "audit.html").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS)) as browser,
    ):
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    yield page
    context.close()
    assert wrong == []


def _show(page: Page, dataset: Dataset, file: Path, *findings: Finding) -> None:
    file.write_text(render_review(_audit(dataset, *findings), dataset), encoding="utf-8")
    page.goto(file.as_uri())


def _show_dark(page: Page, dataset: Dataset, file: Path, *names: str) -> None:
    _show(page, dataset, file, *(_finding(dataset, "dark", name, lightest=3.0) for name in names))


def _saved(page: Page, tmp_path: Path) -> Path:
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(file := tmp_path / "saved.csv")
    return file


def _pick(card: Locator) -> None:
    card.click(position={"x": 40, "y": 40})  # on its picture


@in_browser
def test_what_is_decided_on_the_page_cleans_the_dataset(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show(page, faces, tmp_path / "review.html", *_findings(faces))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    cards = page.locator("#cards li")
    assert cards.count() == 2
    _pick(cards.first)
    page.keyboard.press("Enter")
    page.keyboard.press("X")
    for _ in range(2):
        page.keyboard.press("U")
    page.keyboard.press("Enter")
    for _ in range(3):  # no other card is next
        page.keyboard.press("5")
    page.click("text=Dark images")
    page.keyboard.press("k")
    assert page.inner_text("#progress") == "3 of 3 pictures decided"
    file = _saved(page, tmp_path)
    found = read_decisions(file, faces)
    expected = {"02.png": "fear", HOSTILE: "fear", "00.png": KEEP}
    assert found.of == {_id(faces, name): what for name, what in expected.items()}
    assert f"'{HOSTILE[:3]}" not in file.read_text(encoding="utf-8")  # begins with its folder
    page.reload()
    assert page.inner_text("#progress") == "3 of 3 pictures decided"
    page.evaluate("localStorage.clear()")
    page.reload()
    assert page.inner_text("#progress") == "0 of 3 pictures decided"
    page.set_input_files("#open", file)
    page.get_by_text("3 decisions of saved.csv taken.").wait_for()
    path = faces.column("path")[_row(faces, "02.png")]
    page.set_input_files("#open", _written(tmp_path, f"Path;Decision\n{path};Keep\nno;keep\n"))
    page.get_by_text("1 decision of decisions.csv taken.").wait_for()
    page.set_input_files("#open", _written(tmp_path, "id,decision\nof another page,drop\n"))
    page.get_by_text("1 of them about pictures that this page has not.").wait_for()
    page.check("#undecided")
    assert cards.count() == 0
    assert page.is_visible("#none")


@in_browser
def test_near_copies_are_told_apart_on_the_page(page: Page, alike: Dataset, tmp_path: Path) -> None:
    findings = audit_dataset(alike).of_kind("near_duplicate")
    (tmp_path / "review.html").write_text(render_review(audit_dataset(alike), alike))
    page.goto((tmp_path / "review.html").as_uri())
    page.click("text=Near copies")
    cards = page.locator("#cards li")
    assert cards.count() == 3
    assert cards.first.locator("img").count() == 2
    assert re.search(r"beside it \w+\.png (fear|sadness)", cards.first.inner_text())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("a")
    assert cards.first.locator(".verdict").inner_text() == "no copy"
    cards.last.get_by_text("no copy").click()
    found = read_decisions(_saved(page, tmp_path), alike)
    assert set(found.of.values()) == {APART} and len(found.of) == 2
    rows = {alike.column("id")[row] for row in findings[0].rows}
    assert set(found.of) < rows
    page.reload()
    assert page.inner_text("#progress").startswith("2 of ")


@in_browser
def test_another_page_of_the_same_dataset_loses_no_decision(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png")
    for button in page.locator("#cards button", has_text="no use").all():
        button.click()
    _show_dark(page, faces, tmp_path / "review.html", "02.png", "03.png")
    assert page.inner_text("#progress") == "1 of 2 pictures decided"
    page.locator("#cards button", has_text="right").last.click()
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png", "03.png")
    assert page.inner_text("#progress") == "3 of 3 pictures decided"


@in_browser
def test_a_key_pressed_once_more_on_the_last_picture_undoes_nothing(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    _pick(page.locator("#cards li"))
    page.keyboard.press("x")
    page.keyboard.press("x")
    assert page.inner_text("#progress") == "1 of 1 picture decided"
    page.keyboard.press("u")
    assert page.inner_text("#progress") == "0 of 1 picture decided"


@in_browser
def test_a_button_pressed_once_more_undoes_it_and_keys_of_the_browser_stay_its(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    button = page.locator("#cards button", has_text="no use")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Control+x")
    assert page.inner_text("#progress") == "0 of 1 picture decided"


@in_browser
def test_the_label_that_it_has_already_means_that_it_is_right(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    _pick(page.locator("#cards li"))
    page.keyboard.press("2")  # happiness
    assert page.inner_text("#cards .verdict") == "label is right"


@in_browser
def test_a_picture_of_two_findings_is_decided_once(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    row = _row(faces, "01.png")
    marked = faces.with_column("excluded", ["odd" if i == row else None for i in range(len(faces))])
    findings = [_finding(faces, kind, "01.png") for kind in ("flat", "dark", "dark")]
    _show(page, marked, tmp_path / "review.html", *findings)
    page.click("text=Dark images")
    assert page.locator("#cards li").count() == 1
    assert "left out already: odd" in page.inner_text("#cards")
    page.locator("#cards button", has_text="no use").click()
    assert page.locator("#kinds").inner_text().count("1 / 1") == 2


@in_browser
def test_more_cards_come_by_the_button_and_by_the_keyboard(
    page: Page, drawn_dataset: Dataset, tmp_path: Path
) -> None:
    paths = drawn_dataset.column("path")
    found = _finding(drawn_dataset, "dark", *(Path(path).name for path in paths[:1]))
    findings = [replace(found, rows=(row,), paths=(paths[row],)) for row in range(130)]
    _show(page, drawn_dataset, tmp_path / "review.html", *findings)
    cards = page.locator("#cards li")
    assert (cards.count(), page.inner_text("#more")) == (60, "70 more")
    page.click("#more")
    assert cards.count() == 120
    _pick(cards.last)
    page.keyboard.press("x")
    assert cards.count() == 130
    assert page.is_hidden("#more")


@in_browser
def test_the_part_is_told_on_the_card(
    page: Page, faces: Dataset, ferplus_dataset: Dataset, tmp_path: Path
) -> None:
    join_datasets([faces, ferplus_dataset], tmp_path / "both")
    both = Dataset.open(tmp_path / "both")
    _show_dark(page, both, tmp_path / "review.html", "01.png")
    assert page.inner_text("#cards .part") == "dataset"


@in_browser
def test_a_path_that_begins_as_a_formula_is_text_to_a_spreadsheet(
    page: Page, tmp_path: Path, faces: Dataset
) -> None:
    paths = faces.column("path")
    paths[(row := _row(faces, "01.png"))] = "=1+1.png"
    renamed = faces.with_column("path", paths)
    _show_dark(page, renamed, tmp_path / "review.html", "=1+1.png")
    page.locator("#cards button", has_text="no use").click()
    file = _saved(page, tmp_path)
    assert ',"\'=1+1.png",' in file.read_text(encoding="utf-8")
    assert read_decisions(file, renamed).of == {renamed.column("id")[row]: DROP}


@in_browser
def test_keys_go_on_wherever_the_focus_is_but_in_a_list(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png", "03.png")
    verdicts = page.locator("#cards .verdict")
    page.focus("#cards select >> nth=0")
    page.keyboard.press("x")
    assert page.inner_text("#progress") == "0 of 3 pictures decided"
    page.focus("#cards li:nth-child(2) button >> nth=0")
    page.keyboard.press("Enter")  # the button's
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.focus("#undecided")
    page.keyboard.press(" ")
    assert verdicts.count() == 1
    page.keyboard.press("5")
    page.uncheck("#undecided")
    assert verdicts.all_inner_texts() == ["→ fear", "label is right", "left out"]


@in_browser
def test_arrows_do_not_change_what_was_chosen_of_the_list(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png")
    page.select_option("#cards select >> nth=0", "anger")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    verdicts = page.locator("#cards .verdict").all_inner_texts()
    assert verdicts == ["→ anger", "label is right"]
    page.click("#undo")
    page.click("#undo")
    assert page.inner_text("#progress") == "0 of 2 pictures decided"
    assert page.is_disabled("#undo")


@in_browser
def test_what_a_spreadsheet_made_of_saved_decisions_is_taken_as_clean_takes_it(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png")
    first, second, third = (faces.column("path")[_row(faces, f"0{i}.png")] for i in (1, 2, 3))
    names = f"1.2E+15;{first};fear;Happy\n;;;\n;{second};;angry\n;no;;No_Emotion\n"
    ids = f"{_id(faces, '03.png')};{third};awe;DROP\n"
    file = _written(tmp_path, f"id;path;label;decision\n{names}{ids}")
    page.set_input_files("#open", file)
    page.get_by_text("3 decisions of decisions.csv taken.").wait_for()
    assert page.inner_text("#said").endswith(
        "1 of them about pictures that this page has not. "
        "1 row without an id passed over: this page has no such path, or several pictures of it."
    )
    for _ in range(2):
        assert page.locator("#cards .verdict").all_inner_texts() == ["label is right", "→ anger"]
        saved = _saved(page, tmp_path)
        assert f",{third},awe,drop\n" in saved.read_text(encoding="utf-8")
        assert read_decisions(saved, faces).of == read_decisions(file, faces).of
        page.reload()


@in_browser
def test_what_is_opened_is_read_as_a_csv_is(page: Page, faces: Dataset, tmp_path: Path) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png")
    one, two = _id(faces, "01.png"), faces.column("path")[_row(faces, "02.png")]
    rows = [
        f"{one},{two},,drop",  # an id counts more than a path
        '1E+15,a"b.png,,fear',
        '1E+15,c"d.png,,keep',
        f'"",{two},"said ""so""",drop',
    ]
    file = _written(tmp_path, "\ufeffid,path,label,decision\r" + "\r".join(rows) + "\r")
    page.set_input_files("#open", file)
    page.get_by_text("4 decisions of decisions.csv taken.").wait_for()
    assert page.locator("#cards .verdict").all_inner_texts() == ["left out", "left out"]
    assert _saved(page, tmp_path).read_text(encoding="utf-8").count("1E+15") == 2
    assert read_decisions(file, faces).of == read_decisions(_saved(page, tmp_path), faces).of


@in_browser
def test_opening_a_file_is_undone_at_once(page: Page, faces: Dataset, tmp_path: Path) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png")
    page.locator("#cards button", has_text="right").first.click()
    rows = "".join(f"{_id(faces, f'{name}.png')},drop\n" for name in ("01", "02", "03"))
    page.set_input_files("#open", _written(tmp_path, f"id,decision\n{rows}"))
    page.get_by_text("3 decisions of decisions.csv taken.").wait_for()
    page.click("#undo")
    assert page.inner_text("#said") == "Undone: 3 decisions."
    assert page.locator("#cards .verdict").all_inner_texts() == ["label is right", ""]
    assert _saved(page, tmp_path).read_text(encoding="utf-8").count("\n") == 2
    page.click("#undo")
    assert "01.png" in page.inner_text("#said")
    assert page.is_disabled("#undo")


@in_browser
def test_what_is_undone_is_undecided_again(page: Page, faces: Dataset, tmp_path: Path) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    page.locator("#cards button", has_text="no use").click()
    page.check("#undecided")
    assert page.is_visible("#none")
    page.keyboard.press("u")
    assert page.is_hidden("#none")
    assert page.locator("#cards li").count() == 1


@in_browser
def test_another_window_decides_and_this_one_does_not_undo_it(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    page.locator("#cards button", has_text="no use").click()
    other = page.context.new_page()
    other.goto(page.url)
    other.locator("#cards button", has_text="right").click()
    page.locator("#cards .verdict", has_text="right").wait_for()
    page.keyboard.press("u")
    assert page.inner_text("#cards .verdict") == "label is right"


@in_browser
def test_a_list_is_walked_by_keys(page: Page, faces: Dataset, tmp_path: Path) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png", "02.png")
    page.focus("#cards select >> nth=0")
    for _ in range(3):  # past neutral and sadness
        page.keyboard.press("ArrowDown")
    assert page.locator("#cards .verdict").all_inner_texts() == ["→ surprise", ""]


@in_browser
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,glee", "“glee” is no decision: expected keep, drop, apart or an emotion"),
        ("a,constructor", "“constructor” is no decision: expected keep, drop, apart or an emotion"),
        ("a,keep\nb,drop\na,drop", "a is decided twice, as keep and as drop"),
        ('"a,keep', "it ends within quotation marks"),
    ],
)
def test_a_file_that_clean_refuses_is_not_taken_in_part(
    page: Page, faces: Dataset, tmp_path: Path, rows: str, says: str
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    page.set_input_files(
        "#open", _written(tmp_path, f"id,decision\n{_id(faces, '01.png')},drop\n{rows}\n")
    )
    page.get_by_text(f"Nothing of decisions.csv taken: {says}.").wait_for()
    assert page.inner_text("#progress") == "0 of 1 picture decided"


@in_browser
def test_enter_is_told_where_something_is_suggested(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    for suggested in (True, False):
        suspect = _finding(faces, "label_suspect", "01.png", label="fear", rather="anger")
        findings = [suspect] if suggested else []
        dark = _finding(faces, "dark", "02.png", lightest=3.0)
        audit = replace(_audit(faces, *findings, dark), networks="They agree.")
        text = render_review(audit, faces)
        assert ("<kbd>Enter</kbd>" in text) == suggested
        assert "They agree." in text


@in_browser
def test_no_label_cannot_be_right(page: Page, faces: Dataset, tmp_path: Path) -> None:
    bare = faces.with_column("label", [None] * len(faces))
    finding = _finding(faces, "bad_label", "01.png", given="glee")
    _show(page, bare, tmp_path / "review.html", finding)
    assert "no label" in page.inner_text("#cards")
    assert "given glee" in page.inner_text("#cards")
    assert page.locator("#cards button").all_inner_texts() == ["no use"]
    _pick(page.locator("#cards li"))
    page.keyboard.press("k")
    assert page.inner_text("#progress") == "0 of 1 picture decided"


@in_browser
def test_what_was_decided_of_another_dataset_is_not_taken(
    page: Page, faces: Dataset, tmp_path: Path
) -> None:
    _show_dark(page, faces, tmp_path / "review.html", "01.png")
    page.locator("#cards button", has_text="no use").click()
    other = replace(faces, info={**faces.info, "fingerprint": "other"})
    _show_dark(page, other, tmp_path / "other.html", "01.png")
    assert page.inner_text("#progress") == "0 of 1 picture decided"
