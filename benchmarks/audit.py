"""The audit against planted defects on real faces: python -m benchmarks.audit.

Takes 4,000 FER+ images that the audit itself finds no twins of, writes them as an AffectNet-Kaggle
tree with defects of known kinds, imports and audits that, and prints recall and precision of each
kind. Twins that the audit missed in FER+ itself would be missed here, too.

MIEN_FERPLUS names a folder with fer2013new.csv and images.zip.
"""

import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from benchmarks.ferplus import SOURCE
from mien.data.audit.auditor import audit_dataset
from mien.data.audit.findings import Audit
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.labels import EMOTIONS

FACES = 4000
EACH = 60
"""How many defects of each kind, and of each guise of near duplicates."""

Pixels = NDArray[np.uint8]
RANDOM = np.random.default_rng(0)


def _jpeg(image: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(RANDOM.integers(30, 80)))
    decoded: Pixels = np.asarray(Image.open(file), dtype=np.uint8)
    return decoded


def _resized(image: Pixels) -> Pixels:
    side = int(RANDOM.integers(24, 80))
    return np.asarray(Image.fromarray(image).resize((side, side)), dtype=np.uint8)


def _cropped(image: Pixels) -> Pixels:
    top, bottom, left, right = (int(n) for n in RANDOM.integers(0, 4, 4))
    return image[top : 48 - bottom, left : 48 - right]


def _brightened(image: Pixels) -> Pixels:
    changed = image * RANDOM.uniform(0.75, 1.25) + RANDOM.uniform(-25, 25)
    clipped: Pixels = np.clip(changed, 0, 255).astype(np.uint8)
    return clipped


GUISES: dict[str, Callable[[Pixels], Pixels]] = {
    "re-encoded": _jpeg,
    "resized": _resized,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "cropped": _cropped,
    "brightened": _brightened,
}
POOR: dict[str, Callable[[Pixels], Pixels]] = {
    "flat": lambda image: (
        np.full_like(image, RANDOM.integers(30, 220))
        + RANDOM.integers(0, 6, image.shape, dtype=np.uint8)
    ),
    "dark": lambda image: (image * 0.2).astype(np.uint8),
    "bright": lambda image: (205 + image * 0.19).astype(np.uint8),
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 2.0).astype(np.uint8),
    "tiny": lambda image: np.asarray(Image.fromarray(image).resize((20, 20)), dtype=np.uint8),
}


def _grey_scene(read: Callable[[], Pixels]) -> Pixels:
    image = read()
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8)


def _faceless_pictures() -> list[Pixels]:
    """Cut photographs without faces, which scikit-image ships, into squares that do not overlap."""
    scenes = (
        data.brick, data.coffee, data.coins, data.grass, data.gravel, data.moon, data.page,
        data.rocket, data.text, data.hubble_deep_field,
    )  # fmt: skip
    found = []
    for image in map(_grey_scene, scenes):
        side = max(60, min(image.shape) // 3)
        for y in range(0, image.shape[0] - side + 1, side):
            for x in range(0, image.shape[1] - side + 1, side):
                cut = image[y : y + side, x : x + side]
                part = cv2.resize(cut, (48, 48), interpolation=cv2.INTER_AREA).astype(np.uint8)
                if part.std() >= 20:  # The night sky is flat rather than faceless.
                    found.append(part)
    return [found[i] for i in RANDOM.permutation(len(found))[:EACH]]


class _Tree:
    """The tree that is planted, and what was planted in it."""

    def __init__(self, root: Path, faces: Pixels) -> None:
        self.root = root
        self.faces = iter(faces)
        self.rows = ["pth,label,relFCs"]
        self.truth: dict[str, set[frozenset[str]]] = defaultdict(set)
        self.guise_of: dict[frozenset[str], str] = {}

    def add(self, pixels: Pixels, *, split: str = "Train", folder: int = 0, label: str = "") -> str:
        """Write an image and its row; return its path."""
        emotion = EMOTIONS[folder % 8]
        name = f"{emotion}/{len(self.rows):06d}.png"
        file = self.root / split / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        self.rows.append(f"{name},{label or emotion},0.8")
        return f"{split}/{name}"

    def plant(self, kind: str, *paths: str) -> frozenset[str]:
        self.truth[kind].add(frozenset(paths))
        return frozenset(paths)

    def build(self) -> None:
        for n in range(EACH):
            face = next(self.faces)
            self.plant("duplicate", self.add(face, folder=n), self.add(face, folder=n))
            face = next(self.faces)
            pair = self.add(face, folder=n), self.add(face, folder=n, split="Test")
            self.plant("duplicate", *pair)
            face = next(self.faces)
            pair = self.add(face, folder=n), self.add(face, folder=n + 1)
            self.plant("duplicate", *pair)
            self.plant("label_conflict", *pair)
            wrong = self.add(next(self.faces), folder=n, label=EMOTIONS[(n + 3) % 8])
            self.plant("folder_label_disagree", wrong)
            self.plant("bad_label", self.add(next(self.faces), folder=n, label="grumpy"))
            broken = self.add(next(self.faces), folder=n)
            content = (self.root / broken).read_bytes()
            (self.root / broken).write_bytes(content[: len(content) // 2] if n % 2 else b"")
            self.plant("unreadable", broken)
            missing = self.add(next(self.faces), folder=n)
            (self.root / missing).unlink()
            self.plant("missing", missing.partition("/")[2])
            unlisted = self.add(next(self.faces), folder=n)
            self.rows.pop()
            (self.root / unlisted).rename(self.root / f"{unlisted}.x.png")
            self.plant("unlisted", f"{unlisted}.x.png")
            for guise, change in GUISES.items():
                face = next(self.faces)
                split = "Test" if n % 4 == 0 else "Train"
                pair = self.add(face, folder=n), self.add(change(face), folder=n, split=split)
                self.guise_of[self.plant("near_duplicate", *pair)] = guise
            for kind, change in POOR.items():
                self.plant(kind, self.add(change(next(self.faces)), folder=n))
        for n, picture in enumerate(_faceless_pictures()):
            self.plant("no_face", self.add(picture, folder=n))
        for n, face in enumerate(self.faces):
            self.add(face, folder=n, split="Test" if n % 10 == 0 else "Train")
        (self.root / "labels.csv").write_text("\n".join(self.rows) + "\n", encoding="utf-8")


def _distinct_faces(dataset: Dataset) -> Pixels:
    audit = audit_dataset(dataset)
    kinds = ("duplicate", "near_duplicate", *POOR)
    spoilt = {row for kind in kinds for finding in audit.of_kind(kind) for row in finding.rows}
    good = np.setdiff1d(dataset.usable("train"), np.array(sorted(spoilt), dtype=np.int64))
    return dataset.images(RANDOM.permutation(good)[:FACES])[..., 0]


def _plant_leaks(tree: _Tree, dataset: Dataset) -> None:
    """Find what leaks once validation is drawn: it may tear near duplicates apart, too."""
    split = dict(zip(dataset.column("path"), dataset.column("split"), strict=True))
    for pair in tree.truth["duplicate"] | tree.truth["near_duplicate"]:
        if len({split[path] for path in pair}) > 1:
            tree.plant("leak", *pair)


def _report(tree: _Tree, audit: Audit) -> None:
    print(f"{'kind':24}{'planted':>8}{'found':>8}{'recall':>9}{'precision':>11}")
    for kind, planted in tree.truth.items():
        found = {frozenset(finding.paths) for finding in audit.of_kind(kind)}
        if kind in (*POOR, "no_face"):
            # A dark picture may be flat besides, a tiny or a resized one lack detail.
            others = set().union(*(t for k, t in tree.truth.items() if k != kind))
            spoilt = set().union(*others)
            found = {paths for paths in found if paths in planted or not paths & spoilt}
        hits = len(found & planted)
        precision = hits / len(found) if found else float("nan")
        print(f"{kind:24}{len(planted):8}{len(found):8}{hits / len(planted):9.1%}{precision:11.1%}")
        if kind == "near_duplicate":
            for guise in GUISES:
                of_guise = {pair for pair, name in tree.guise_of.items() if name == guise}
                recall = len(found & of_guise) / len(of_guise)
                print(f"  {guise:22}{len(of_guise):8}{'':8}{recall:9.1%}")


def main() -> None:
    if not SOURCE.is_dir():
        print(f"audit: skipped, {SOURCE} is not there (set MIEN_FERPLUS)")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        import_dataset("ferplus", SOURCE, folder / "ferplus")
        tree = _Tree(folder / "tree", _distinct_faces(Dataset.open(folder / "ferplus")))
        tree.build()
        started = time.perf_counter()
        import_dataset("affectnet-kaggle", tree.root, folder / "planted", size=48, channels=1)
        dataset = Dataset.open(folder / "planted")
        audit = audit_dataset(dataset)
        seconds = time.perf_counter() - started
        _plant_leaks(tree, dataset)
        _report(tree, audit)
        print(f"import and audit of {audit.rows:,} rows: {seconds:.1f} s")


if __name__ == "__main__":
    main()
