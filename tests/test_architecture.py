"""The shape of the house: imports point downwards, recognition needs no torch, names are exact."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import mien

SOURCE = Path(mien.__file__).parent

FLOORS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("bench", "demo"),
    ("training",),
    ("judging", "score", "serve"),
    ("environments", "inputs", "predictor"),
    ("data",),
    ("onnx", "picture", "video"),
    ("detect", "drawn", "figure", "metrics", "model", "pages"),
    ("annotate", "card", "cluster", "people", "places"),
    ("images", "preprocess"),
    ("config",),
    ("records", "labels"),
    ("cores", "lock"),
    ("atomic", "errors", "progress", "quiet", "termination", "version"),
)
"""From the roof to the ground: what imports what is on floors below its own, never above.

The package itself (``mien``) stands below what builds on ``mien.load``.
"""

NEEDS_TORCH = {
    "bench",
    "demo",
    "environments",
    "judging.robustness",
    "onnx.compact",
    "onnx.quicken",
    "training",
}
"""Modules, or packages all of which may."""

HEAVY = {"torch", "kornia", "lightning_fabric", "safetensors", "onnx"}


@cache
def _modules() -> dict[str, Path]:
    """Every module by its name without the package."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__") or "mien"] = path
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


@cache
def _own(name: str) -> frozenset[str]:
    """Modules of mien that a module imports."""
    imported = {found.removeprefix("mien.") for found in _imports(_modules()[name])}
    return frozenset(imported & _modules().keys()) - {name, "mien"}


def _unit(name: str) -> str:
    return name.partition(".")[0]


def test_everything_has_its_floor() -> None:
    placed = [name for floor in FLOORS for name in floor]
    assert sorted(placed) == sorted({*map(_unit, _modules())} - {"mien"})


def test_imports_point_downwards() -> None:
    level = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    upward = [
        f"{name} -> {other}"
        for name in _modules()
        if name != "mien"
        for other in _own(name)
        if _unit(other) != _unit(name) and level[_unit(other)] <= level[_unit(name)]
    ]
    assert upward == []


def test_within_packages_no_import_leads_back() -> None:
    """Those of `__init__` are what users of the package import, who stand above it."""
    TopologicalSorter({name: _own(name) for name in _modules()}).prepare()


def test_only_training_needs_torch() -> None:
    users = {
        name
        for name, path in _modules().items()
        if HEAVY & {found.partition(".")[0] for found in _imports(path)}
    }
    for _ in _modules():
        users |= {name for name in _modules() if _own(name) & users}
    assert {_unit(name) if _unit(name) in NEEDS_TORCH else name for name in users} == NEEDS_TORCH


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


def test_tests_share_by_modules_that_hold_none() -> None:
    """Else one file of tests cannot be changed, or run, without another."""
    tests = sorted(Path(__file__).parent.glob("*.py"))
    found = {
        f"{path.name}: {module}"
        for path in tests
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith("test_")
    }
    assert len(tests) > 50
    assert found == set()
