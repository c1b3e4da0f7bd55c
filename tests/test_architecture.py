"""The import contracts of pyproject.toml, and the absence of I/O in pure modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = sorted(
    path
    for folder in ("http", "media", "download/planner")
    for path in (ROOT / "vidnb" / folder).glob("*.py")
)
PURE += [ROOT / f"vidnb/server/{name}.py" for name in ("listing", "routes", "segment_queue")]


def test_import_contracts() -> None:
    """import-linter keeps the layers, the planner's layer, purity and the absence of cycles."""
    completed = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "4 kept, 0 broken" in completed.stdout


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_pure_modules_call_no_io_builtin(path: Path) -> None:
    """`open`, `print`, `input`, `exec` and `eval` need no import, so no contract finds them."""
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval"}
