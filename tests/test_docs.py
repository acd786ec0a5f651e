"""What the documentation shows is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.slow
def test_the_program_of_the_python_page_runs(tmp_path: Path) -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert "<Dataset faces: train 192, valid 24, test 24 usable of 240" in ran.stdout
    assert (tmp_path / "runs/mine/evaluation/evaluation.html").is_file()
    assert (tmp_path / "mine.onnx").is_file()
