"""The player's script is checked by TypeScript's compiler: it is plain JavaScript with JSDoc."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.assets import typescript_compiler

SCRIPTS = Path(__file__).parent.parent.parent / "vidnb" / "widgets" / "js"
OPTIONS = [
    "--allowJs",
    "--checkJs",
    "--noEmit",
    "--strict",
    "--noUnusedLocals",
    "--noUnusedParameters",
    "--noImplicitReturns",
    "--noFallthroughCasesInSwitch",
    "--target",
    "es2023",
    "--lib",
    "es2023,dom,dom.iterable",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
]


def check(script: Path) -> tuple[int, str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    ran = subprocess.run(
        [node, str(typescript_compiler()), *OPTIONS, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["player.js", "compare.js"])
def test_the_widgets_scripts_pass_the_type_checker(name: str) -> None:
    assert check(SCRIPTS / name) == (0, "")


def test_each_module_has_a_ts_check_comment() -> None:
    """An editor without these options checks them too."""
    scripts = sorted(SCRIPTS.glob("*.js"))
    assert len(scripts) > 5
    assert [path.name for path in scripts if not path.read_text("utf-8").startswith("// @ts")] == []


def test_the_type_checker_reports_an_error(tmp_path: Path) -> None:
    for path in SCRIPTS.glob("player*.js"):
        shutil.copy(path, tmp_path)
    script = tmp_path / "player.js"
    text = script.read_text("utf-8")
    script.write_text(text.replace("this.deck.step(frames)", "this.deck.stepp(frames)"), "utf-8")
    code, output = check(script)
    assert code != 0
    assert "'stepp' does not exist" in output
