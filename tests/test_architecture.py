"""The shape of the house: imports point downwards, recognition needs no torch, names are exact."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import mien

SOURCE = Path(mien.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("bench", "collect", "crossval", "demo", "search"),
    ("bench.race", "bench.speed", "crossfit", "export", "soup"),
    ("bench.machine", "foreknowledge", "train"),
    ("reopen", "teachers"),
    ("streaming",),
    ("compare", "runs", "labelled", "robustness", "summary"),
    (
        "evaluate",
        "checkpoint",
        "optim",
        "augment",
        "networks",
        "mixing",
        "losses",
        "emphasis",
        "live",
        "mien",
        "score",
        "serve",
        "window",
    ),
    (
        "environments",
        "comparison_page",
        "evaluation_page",
        "model_card",
        "peers",
        "predictor",
        "data.drawn_folder",
        "data.importers",
        "data.clean",
        "data.join",
        "data.stream",
        "plots",
    ),
    ("data.decisions", "data.rules"),
    ("data.audit", "timeline_page", "timeline_picture"),
    ("figure", "pages", "picture", "timeline"),
    ("model", "data.writer", "data.formats", "annotate", "inputs", "quantise", "track"),
    ("calibration", "data.conditions", "lineage"),
    ("data.dataset", "data.splits", "data.source"),
    ("card", "detect", "looks", "metrics", "motion", "drawn"),
    ("camera", "together"),
    ("images", "places", "cluster", "overlay", "video", "preprocess", "config", "data"),
    ("records", "labels", "steady"),
    ("cores", "history", "lock"),
    (
        "errors",
        "averaging",
        "editlist",
        "compact",
        "matroska",
        "mirror",
        "people",
        "sharpness",
        "termination",
        "version",
        "progress",
        "atomic",
        "quicken",
        "quiet",
    ),
)
"""From the roof to the ground: a module imports from the floors below its own, never above.

The package itself (``mien``) stands below what builds on ``mien.load``.
"""

NEEDS_TORCH = {
    "augment",
    "averaging",
    "bench",
    "bench.machine",
    "bench.race",
    "bench.speed",
    "checkpoint",
    "compact",
    "crossfit",
    "crossval",
    "demo",
    "emphasis",
    "environments",
    "export",
    "foreknowledge",
    "labelled",
    "losses",
    "mirror",
    "mixing",
    "networks",
    "optim",
    "quicken",
    "reopen",
    "robustness",
    "runs",
    "search",
    "sharpness",
    "soup",
    "streaming",
    "summary",
    "teachers",
    "together",
    "train",
}
WHOLES = ("cli.", "drawn.", "data.formats.", "data.audit.", "detect.", "score.", "serve.")
"""Packages whose parts count as one module."""

HEAVY = {"torch", "kornia", "lightning_fabric", "safetensors", "onnx"}


@cache
def _modules() -> dict[str, Path]:
    """Every module by its name without the package; the parts of some packages count as one."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if not name.startswith(WHOLES):
            found[name or "mien"] = path
    return found


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules imported with the file; not what functions and type checkers import."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def _own(imports: frozenset[str]) -> set[str]:
    modules = _modules()
    return {name.removeprefix("mien.") for name in imports if name.removeprefix("mien.") in modules}


def test_every_module_has_its_floor() -> None:
    placed = [name for floor in FLOORS for name in floor]
    assert sorted(placed) == sorted(_modules())


def test_imports_point_downwards() -> None:
    level = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    upward = [
        f"{name} -> {other}"
        for name, path in _modules().items()
        for other in _own(_imports(path)) - {name, "mien"}
        if level[other] <= level[name]
    ]
    assert upward == []


def test_only_training_needs_torch() -> None:
    users = {
        name
        for name, path in _modules().items()
        if HEAVY & {found.partition(".")[0] for found in _imports(path)}
    }
    for _ in _modules():
        users |= {n for n, path in _modules().items() if _own(_imports(path)) & users}
    assert users == NEEDS_TORCH


def _loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.splitlines()[-1].split())


def test_import_mien_is_light() -> None:
    loaded = _loaded_after("import mien")
    assert not loaded & (HEAVY | {"cv2", "numpy", "onnxruntime", "PIL", "pyarrow", "matplotlib"})


def test_recognition_loads_no_torch() -> None:
    loaded = _loaded_after(
        "import numpy, mien.cli\nmien.load()(numpy.zeros((60, 60, 3), numpy.uint8))"
    )
    assert "onnxruntime" in loaded
    assert not loaded & (HEAVY | {"pyarrow", "matplotlib"})


def test_public_names_are_exact() -> None:
    assert mien.__all__ == [
        "EMOTIONS",
        "Box",
        "ConfigError",
        "DataError",
        "DatasetError",
        "Detector",
        "Face",
        "ImageError",
        "MienError",
        "ModelError",
        "Picture",
        "Prediction",
        "Recogniser",
        "UsageError",
        "VideoError",
        "__version__",
        "load",
    ]
    assert all(hasattr(mien, name) for name in mien.__all__)
