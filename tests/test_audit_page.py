import base64
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import sync_playwright

from browser import CHROMIUM, FLAGS, in_browser
from mien.data.audit.findings import KINDS, Audit, Finding, ValueFigures
from mien.data.audit.page import render_page
from mien.data.clean import clean_dataset
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.data.join import join_datasets
from mien.data.rules import Rules
from mien.drawn import draw_face, sample_parameters
from mien.images import write_image
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec, fit
from mien.version import __version__

VOID = {"br", "col", "hr", "img", "input", "link", "meta", "wbr"}
SCRIPT = "<script>alert(1)<!--.png"
HANDLER = "\"><img src=x onerror='alert(1)'>.png"
BREAKING = "two\nlines \u202egnp.png"
HOSTILE = (SCRIPT, HANDLER, BREAKING, "long" * 50 + ".png")
BROKEN = "broken.png"


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    children: list["Node | str"] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list["Node"]:
        """Every element below with that tag, and those classes or other attributes."""
        return [
            node
            for node in self.walk()
            if node.tag == tag
            and all(
                value in node.attributes.get(name.rstrip("_"), "").split()
                for name, value in attributes.items()
            )
        ]

    def one(self, tag: str, **attributes: str) -> "Node":
        (node,) = self.all(tag, **attributes)
        return node

    def walk(self) -> Iterator["Node"]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.walk()

    @property
    def text(self) -> str:
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join("".join(parts).split())


class Reader(HTMLParser):
    """Builds the tree and takes no element that is left open or closed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert any(node.tag == "svg" for node in self.open), f"<{tag}/> is no HTML"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(html: str) -> Node:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root.one("html")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twenty drawn faces in every split, names that mean harm, and a file that is no image."""
    folder = tmp_path_factory.mktemp("page")
    for place, split in enumerate(("train", "valid", "test")):
        for number in range(20):
            emotion = EMOTIONS[number % 8]
            faces = folder / "faces" / split / emotion
            faces.mkdir(parents=True, exist_ok=True)
            name = HOSTILE[number] if split == "test" and number < 4 else f"{number:02d}.png"
            pixels = draw_face(sample_parameters(emotion, seed=20 * place + number), size=48)
            write_image(faces / name, fit(pixels, InputSpec(size=48, channels=3)))
    (folder / "faces" / "train" / "fear" / BROKEN).write_bytes(b"no image")
    import_dataset("folder", folder / "faces", folder / "dataset", size=48, channels=1)
    return Dataset.open(folder / "dataset")


def finding(dataset: Dataset, kind: str, *rows: int, **evidence: Any) -> Finding:
    paths = dataset.column("path")
    return Finding(kind, rows, tuple(paths[row] for row in rows), evidence)


def audit_of(
    dataset: Dataset, *findings: Finding, checked: tuple[str, ...] = tuple(KINDS), **parts: Any
) -> Audit:
    given: dict[str, Any] = {"balance": dataset.info["counts"], "folders": {}, "values": ()}
    return Audit(dataset.info, len(dataset), findings, checked, **{**given, **parts})


def page_of(dataset: Dataset, *findings: Finding, per_kind: int = 48, **parts: Any) -> Node:
    return read(render_page(audit_of(dataset, *findings, **parts), dataset, per_kind=per_kind))


def row_named(dataset: Dataset, name: str) -> int:
    return next(row for row, path in enumerate(dataset.column("path")) if path.endswith(name))


def pixels_of(image: Node) -> NDArray[np.uint8]:
    head, _, body = image.attributes["src"].partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body, validate=True))))


@pytest.fixture(scope="module")
def everything(faces: Dataset) -> str:
    """The page of an audit that found two of every kind and has every other part."""
    findings = [
        finding(faces, kind, *rows, similarity=0.98765, note=SCRIPT)
        for place, kind in enumerate(KINDS)
        for rows in ((place,), (place + 1, place + 2))
    ]
    values = ValueFigures("light", HANDLER, (0.0, 0.5, 1.0), dict.fromkeys(EMOTIONS, (3, 1)))
    folders = {"fear": {"fear": 3, "anger": 1}, SCRIPT: {"fear": 1}}
    audit = audit_of(faces, *findings, folders=folders, values=(values,))
    return render_page(audit, faces)


def test_every_kind_has_its_section_in_order(everything: str) -> None:
    page = read(everything)
    sections = [node.attributes["id"] for node in page.one("main").all("section")]
    assert sections == ["balance", "folders", *KINDS, "values"]
    for kind, (_, says, advice) in KINDS.items():
        section = page.one("section", id=kind)
        assert says in section.text
        assert advice in section.text
        assert len(section.one("ol").children) > 0


def test_links_lead_somewhere(everything: str) -> None:
    page = read(everything)
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    links = [node.attributes["href"] for node in page.all("a")]
    assert {f"#{kind}" for kind in KINDS} <= set(links)
    beside = {"review.html"}  # which the command writes, too
    assert {link.removeprefix("#") for link in links} - beside <= set(ids)
    labelled = [node.attributes.get("aria-labelledby") for node in page.all("section")]
    assert set(labelled) <= set(ids)


def test_page_asks_no_one_for_anything(everything: str) -> None:
    page = read(everything)
    for node in page.walk():
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            # What lies beside it is asked for by who clicks alone.
            of_click = ("review.html",) if node.tag == "a" else ()
            assert node.attributes.get(name, "#").startswith(("data:", "#", *of_click))
    assert not re.search(r"url\(|@import|https?:", everything)
    (policy,) = [n for n in page.all("meta") if "http-equiv" in n.attributes]
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:;")


def test_page_can_be_read_with_a_screen_reader(everything: str) -> None:
    page = read(everything)
    assert page.attributes["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("nav")) == 1
    assert all(image.attributes["alt"] for image in page.all("img"))
    assert all(node.attributes["aria-label"] for node in page.all("svg", role="img"))
    assert len(page.all("svg", role="img")) == len(page.all("svg"))
    assert all(cell.attributes["scope"] in {"row", "col"} for cell in page.all("th"))


def test_hostile_texts_stay_texts(faces: Dataset, everything: str) -> None:
    rows = [row_named(faces, name) for name in HOSTILE]
    html = render_page(audit_of(faces, *(finding(faces, "dark", row) for row in rows)), faces)
    for page in (read(everything), read(html)):
        assert page.all("script") == []
        assert not any(name.startswith("on") for node in page.walk() for name in node.attributes)
        assert all(image.attributes["src"].startswith("data:") for image in page.all("img"))
    names = read(html).one("section", id="dark").all("span", class_="file")
    paths = faces.column("path")
    assert names[0].attributes["title"] == paths[rows[0]]
    assert names[1].attributes["title"] == paths[rows[1]]
    assert names[2].attributes["title"].endswith(r"two\nlines \u202egnp.png")
    assert "\u202e" not in html


def test_long_names_are_shortened_in_the_middle(faces: Dataset) -> None:
    row = row_named(faces, HOSTILE[3])
    name = page_of(faces, finding(faces, "dark", row)).one("span", class_="file")
    assert name.text == "longlonglong…glonglong.png"
    assert name.attributes["title"] == faces.column("path")[row]


def test_what_no_encoding_holds_is_spelt_out(faces: Dataset) -> None:
    html = render_page(audit_of(faces, finding(faces, "dark", 0, note="a\udcffb\0")), faces)
    assert b"a\\udcffb\\x00" in html.encode("utf-8")


def test_counts_of_header_and_tiles(faces: Dataset) -> None:
    findings = [finding(faces, "dark", row) for row in range(5)]
    checked = ("dark", "bright", "duplicate")
    page = page_of(faces, *findings, finding(faces, "duplicate", 4, 5, 6), checked=checked)
    assert page.one("h1").text == f"7 of {len(faces)} rows have something to look at"
    tiles = [tile.text for tile in page.one("ul", class_="tiles").all("li")]
    assert len(tiles) == len(KINDS)
    assert tiles[list(KINDS).index("dark")] == "5Dark images"
    assert tiles[list(KINDS).index("duplicate")] == "1Exact copies"
    assert tiles[list(KINDS).index("bright")] == "Bright images"
    assert sum(tile.startswith("not looked for") for tile in tiles) == len(KINDS) - 3
    assert [link.attributes["href"] for link in page.all("a", class_="tile")] == [
        "#duplicate",
        "#dark",
    ]


def test_networks_that_say_nothing_are_told_of_beside_the_tiles(faces: Dataset) -> None:
    says = "Networks know nothing."
    for checked in (tuple(KINDS), ("dark",)):
        page = page_of(faces, networks=says, checked=checked)
        assert page.one("header", class_="top").text.count(says) == 1
    suspect = finding(faces, "label_suspect", 1, rather="fear")
    page = page_of(faces, suspect, networks=says)
    assert says not in page.one("header", class_="top").text
    assert page.one("section", id="label_suspect").text.count(says) == 1


def test_source_and_splits_are_named(faces: Dataset) -> None:
    facts = page_of(faces).one("dl", class_="facts")
    given = [node.text for node in facts.all("dd")]
    assert given[0] == "folder"
    assert given[1].endswith("faces")
    assert given[2:] == ["61", "20", "20", "20"]


def test_one_finding_is_spoken_of_as_one(faces: Dataset) -> None:
    page = page_of(faces, finding(faces, "dark", 1))
    assert page.one("h1").text == f"1 of {len(faces)} rows has something to look at"
    assert page.one("section", id="dark").text.count("1 finding: hardly any light.") == 1


def test_an_audit_that_found_nothing(faces: Dataset) -> None:
    page = page_of(faces)
    assert page.one("h1").text == f"Nothing found in {len(faces)} rows"
    assert [node.attributes["id"] for node in page.all("section")] == ["balance"]
    assert page.all("img") == []
    assert "nothing to repair" in page.one("footer").text


def test_an_audit_of_nothing(faces: Dataset) -> None:
    page = page_of(faces, checked=(), balance={})
    assert page.one("h1").text == "Nothing was looked for"


def test_only_the_first_findings_are_shown(faces: Dataset) -> None:
    findings = [finding(faces, "dark", row % 50) for row in range(1234)]
    section = page_of(faces, *findings, per_kind=10).one("section", id="dark")
    assert len(section.one("ol").all("li")) == len(section.all("img")) == 10
    assert "1,234 findings" in section.text
    assert "and 1,224 more in the JSON" in section.text
    section = page_of(faces, *findings[:10], per_kind=10).one("section", id="dark")
    assert "more" not in section.text


def test_large_groups_are_cut(faces: Dataset) -> None:
    page = page_of(
        faces,
        finding(faces, "duplicate", *range(12)),
        finding(faces, "duplicate", *range(20, 28)),
    )
    large, full = page.one("section", id="duplicate").one("ol").all("li")
    assert len(large.all("img")) == len(full.all("img")) == 8
    assert "+ 4 more" in large.text
    assert "more" not in full.text


def test_images_are_those_of_the_rows(faces: Dataset) -> None:
    rows = [3, 30, 50]
    page = page_of(faces, *(finding(faces, "dark", row) for row in rows))
    expected = faces.images(np.array(rows))[..., 0].astype(int)
    for image, row, own in zip(page.all("img"), rows, expected, strict=True):
        assert np.abs(pixels_of(image) - own).mean() < 4
        label = faces.column("label")[row]
        assert image.attributes["alt"] == f"labelled {label}"
    captions = [node.text for node in page.all("span", class_="label")]
    labels, splits = faces.column("label"), faces.column("split")
    assert captions == [f"{labels[row]} {splits[row]}" for row in rows]


def test_images_of_a_joined_set_say_which_part_they_are_of(faces: Dataset, tmp_path: Path) -> None:
    clean_dataset(faces, tmp_path / "<i>mine", Rules(without=("fear",)))
    join_datasets([faces, Dataset.open(tmp_path / "<i>mine")], tmp_path / "both")
    clean_dataset(faces, tmp_path / "more", Rules(without=("anger",)))
    join_datasets([Dataset.open(tmp_path / name) for name in ("both", "more")], tmp_path / "joined")
    joined = Dataset.open(tmp_path / "joined")
    rows = [joined.column("part").index(name) for name in ("both/<i>mine", "both/dataset", "more")]
    shown = page_of(joined, finding(joined, "duplicate", *rows)).all("span", class_="part")
    assert [node.text for node in shown] == ["both/<i>mine", "both/dataset", "more"]
    assert page_of(faces, finding(faces, "duplicate", 1, 2)).all("span", class_="part") == []


@in_browser
def test_emotions_and_their_counts_stay_apart_on_a_phone(faces: Dataset) -> None:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS)) as browser,
    ):
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.set_content(render_page(audit_of(faces), faces))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        spilt = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth).length"
        assert page.locator(".balance th, .balance td").count() == 40
        assert page.locator(".balance th, .balance td").evaluate_all(spilt) == 0
        copies = [finding(faces, "near_duplicate", *range(n), similarity=0.98) for n in (2, 8)]
        page.set_content(render_page(audit_of(faces, *copies), faces))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        few, many = (card.bounding_box() for card in page.locator(".cards > li").all())
        assert few and many and many["height"] < 1.3 * few["height"]


def test_every_image_is_encoded_once(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    images = Dataset.images

    def counting(self: Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        asked.extend(rows.tolist())
        return images(self, rows)

    monkeypatch.setattr(Dataset, "images", counting)
    kinds = ("duplicate", "leak", "label_conflict")
    page = page_of(faces, *(finding(faces, kind, 1, 2, 3) for kind in kinds))
    assert sorted(asked) == [1, 2, 3]
    assert len(page.all("img")) == 9


def test_a_row_without_an_image_gets_a_drawn_one(faces: Dataset) -> None:
    row = row_named(faces, BROKEN)
    section = page_of(faces, finding(faces, "unreadable", row)).one("section", id="unreadable")
    assert section.all("img") == []
    assert section.one("svg", class_="absent").attributes["aria-label"] == "no image"


def test_large_colour_images_become_thumbnails(tmp_path: Path) -> None:
    colours = np.zeros((200, 200, 3), dtype=np.uint8)
    colours[:, :100] = (250, 20, 20)
    for emotion in ("fear", "anger"):
        (tmp_path / "faces" / "train" / emotion).mkdir(parents=True)
        write_image(tmp_path / "faces" / "train" / emotion / "0.png", colours)
    import_dataset("folder", tmp_path / "faces", tmp_path / "dataset", size=224, channels=3)
    dataset = Dataset.open(tmp_path / "dataset")
    pixels = pixels_of(page_of(dataset, finding(dataset, "flat", 0)).one("img"))
    assert pixels.shape == (96, 96, 3)
    assert np.abs(pixels[48, 20].astype(int) - (250, 20, 20)).max() < 12


def test_a_row_without_a_label_says_so(faces: Dataset) -> None:
    labels = faces.manifest.column_names.index("label")
    unlabelled = faces.manifest.set_column(labels, "label", [[None] * len(faces)])
    dataset = replace(faces, manifest=unlabelled)
    page = page_of(dataset, finding(dataset, "bad_label", 0))
    assert page.one("span", class_="label").text == f"no label {faces.column('split')[0]}"


EVIDENCE: tuple[tuple[str, Any, str], ...] = (
    ("three digits", 0.98765, "0.988"),
    ("small", 0.0000123456, "1.23e-05"),
    ("large", 123456.789, "123,000"),
    ("rounds up", 999.9, "1,000"),
    ("whole", 12345, "12,345"),
    ("yes", True, "yes"),
    ("no", False, "no"),
    ("text", "same pixels", "same pixels"),
    ("list", ["train", "test"], "train, test"),
    ("numbers", [1, 0.33333], "1, 0.333"),
    ("votes", {"fear": 0.75, "anger": 0.25}, "fear 0.75, anger 0.25"),
    ("pairs", [[1, 2], [3, None]], "1, 2, 3, none"),
    ("many", list(range(11)), "0, 1, 2, 3, 4, 5, 6, 7 + 3 more"),
    ("long", "x" * 300, "x" * 47 + "…" + "x" * 48),
)


@pytest.mark.parametrize(("name", "value", "shown"), EVIDENCE, ids=[name for name, *_ in EVIDENCE])
def test_evidence_is_readable(faces: Dataset, name: str, value: Any, shown: str) -> None:
    evidence = {"some_measure": value, "nothing": None}
    section = page_of(faces, finding(faces, "dark", 0, **evidence)).one("section", id="dark")
    assert [node.text for node in section.all("dt")] == ["some measure"]
    assert section.one("dd").text == shown


def test_emotions_in_the_evidence_have_their_colours(faces: Dataset) -> None:
    found = finding(faces, "label_suspect", 0, reads="surprise", among=["fear", SCRIPT])
    facts = page_of(faces, found).one("section", id="label_suspect").one("dl")
    coloured = [node.attributes["class"] for node in facts.all("span")]
    assert coloured == ["emotion e-surprise", "emotion e-fear"]


def test_what_is_left_out_already_is_marked(faces: Dataset) -> None:
    findings = [finding(faces, "leak", n, n + 1, excluded_already=n < 2) for n in range(5)]
    section = page_of(faces, *findings).one("section", id="leak")
    assert "5 findings" in section.text
    assert "2 of them are already left out." in section.text
    marked = [bool(card.all("p", class_="badge")) for card in section.one("ol").all("li")]
    assert marked == [True, True, False, False, False]
    assert section.all("dt") == []


def test_class_balance(faces: Dataset) -> None:
    balance = {"test": {"fear": 1}, "train": {"neutral": 3000, "fear": 1000}, "valid": {}}
    table = page_of(faces, balance=balance).one("table", class_="balance")
    assert [cell.text for cell in table.one("thead").all("th")] == [
        "emotion",
        "train",
        "valid",
        "test",
    ]
    rows = {row.one("th").text: row.all("td") for row in table.one("tbody").all("tr")}
    assert tuple(rows) == EMOTIONS
    assert [cell.text for cell in rows["neutral"]] == ["3,000 75.0 %", "0 0.0 %", "0 0.0 %"]
    assert [cell.text for cell in rows["fear"]] == ["1,000 25.0 %", "0 0.0 %", "1 100.0 %"]
    bars = [cell.one("i").attributes["style"] for cell in rows["fear"]]
    assert bars == ["width:25.00%", "width:0.00%", "width:100.00%"]
    assert [cell.text for cell in table.one("tfoot").all("td")] == ["4,000", "0", "1"]


def test_folders_against_labels(faces: Dataset) -> None:
    folders = {"anger": {"anger": 90, "fear": 5}, "fear": {"fear": 100, "anger": 2, "neutral": 3}}
    section = page_of(faces, folders=folders).one("section", id="folders")
    assert "In 5.0 % of 200 rows the folder names another emotion" in section.text
    assert "folder anger, table fear (5); folder fear, table neutral (3)" in section.text
    cells = [node.text for node in section.all("text", class_="in")]
    assert cells == ["3", "100", "2", "0", "5", "90"]  # rows fear, anger; neutral, fear, anger
    agreeing = section.all("rect", class_="agrees")
    assert [node.text.partition(":")[0] for node in agreeing] == [
        "folder fear, table fear",
        "folder anger, table anger",
    ]


def test_thresholds_say_what_lies_below(faces: Dataset) -> None:
    generator = np.random.default_rng(3)
    edges = np.linspace(0, 1, 41)
    drawn = {"anger": generator.beta(2, 5, 300), "fear": generator.beta(5, 2, 700)}
    figures = ValueFigures(
        "own_score",
        "how sure the source is; low: unsure",
        tuple(edges.tolist()),
        {name: tuple(np.histogram(v, edges)[0].tolist()) for name, v in drawn.items()},
    )
    section = page_of(faces, values=(figures,)).one("section", id="values")
    assert section.one("h3").text == "own score"
    assert figures.says in section.text
    table = section.one("table")
    cuts = [float(cell.text) for cell in table.one("thead").all("th")[1:]]
    assert len(cuts) == 6
    assert cuts == sorted(cuts)
    both = np.concatenate(list(drawn.values()))
    expected = {"all": both, "fear": drawn["fear"], "anger": drawn["anger"]}
    rows = {row.one("th").text: row.all("td") for row in table.one("tbody").all("tr")}
    assert list(rows) == list(expected)
    for name, values in expected.items():
        shown = [float(cell.text.removeprefix("<")) for cell in rows[name]]
        assert shown == pytest.approx([100 * (values < cut).mean() for cut in cuts], abs=0.1)
    assert [node.attributes["class"] for node in section.all("svg")] == [
        "e-all",
        "e-fear",
        "e-anger",
    ]


def test_values_that_no_image_has(faces: Dataset) -> None:
    empty = ValueFigures("empty", "nothing", (), {})
    zero = ValueFigures("zero", "nothing", (0.0, 1.0, 2.0), {"fear": (0, 0)})
    one = ValueFigures("one", "a single bin", (0.0, 1.0), {"fear": (4,), "anger": (0,)})
    section = page_of(faces, values=(empty, zero, one)).one("section", id="values")
    assert [node.text for node in section.all("h3")] == ["zero", "one"]
    assert section.all("table") == []


def test_the_footer_says_how_to_repair(faces: Dataset) -> None:
    footer = page_of(faces, finding(faces, "dark", 0), finding(faces, "leak", 1, 2)).one("footer")
    assert footer.one("pre").text.startswith("mien data clean DATASET --out ")
    rows = [(row.one("th").text, row.one("td").text) for row in footer.all("tr")]
    assert rows == [("leak", KINDS["leak"].advice), ("dark", KINDS["dark"].advice)]
    assert f"mien {__version__}" in footer.text
