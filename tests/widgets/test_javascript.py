"""The front end: its types by TypeScript's compiler, its behaviour by node, on a fake DOM."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.assets import typescript_compiler
from tests.deadline import DEADLINE_S
from vidnb.widgets.compare.comparison import Comparison
from vidnb.widgets.player.widget import Player

HERE = Path(__file__).parent
SCRIPTS = HERE.parent.parent / "vidnb" / "widgets" / "js"
PAGES = HERE.parent.parent / "vidnb" / "server" / "pages"


def node(*arguments: str) -> tuple[int, str]:
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=10 * DEADLINE_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("test", sorted(path.name for path in (HERE / "js").glob("*.test.mjs")))
def test_modules(test: str) -> None:
    """By node's own test runner; the tests import the modules as they are."""
    code, output = node("--test", str(HERE / "js" / test))
    assert code == 0, output


def test_types() -> None:
    """Strict, by the options of the editors' own jsconfig.json."""
    code, output = node(str(typescript_compiler()), "-p", str(SCRIPTS / "jsconfig.json"))
    assert (code, output) == (0, "")


def test_each_module_is_checked() -> None:
    scripts = [*SCRIPTS.glob("*.js"), *PAGES.glob("*.js")]
    assert len(scripts) > 20
    assert [path.name for path in scripts if not path.read_text("utf-8").startswith("// @ts")] == []


def test_the_checker_finds_a_fault(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "js")
    script = tmp_path / "js" / "player_view.js"
    text = script.read_text("utf-8")
    script.write_text(text.replace("this.controls.step(frames)", "this.controls.stepp(frames)"))
    code, output = node(str(typescript_compiler()), "-p", str(tmp_path / "js" / "jsconfig.json"))
    assert code != 0
    assert "'stepp' does not exist" in output


@pytest.mark.parametrize("widget", [Player, Comparison])
def test_a_widget_is_one_script_that_renders(widget: Any, tmp_path: Path) -> None:
    (tmp_path / "widget.mjs").write_text(widget._esm, "utf-8")
    (tmp_path / "use.mjs").write_text(
        'import widget from "./widget.mjs";\n'
        "console.log(JSON.stringify([Object.keys(widget), typeof widget.render]));\n"
    )
    code, output = node(str(tmp_path / "use.mjs"))
    assert (code, json.loads(output)) == (0, [["render"], "function"])


def test_the_browser_writes_no_trait() -> None:
    for widget in Player, Comparison:
        assert "save_changes" not in widget._esm
        assert "model.set(" not in widget._esm
