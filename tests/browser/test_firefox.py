"""The player in Firefox: JupyterLab, the direct route, controlled inside a running cell."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets import film
from tests.browser.cells import SHOW, NotebookFile, copy_file
from tests.browser.firefox import Firefox, find_firefox
from tests.browser.lab import Lab, require_program
from tests.browser.running_cell import READ_STATE, RECORD, SLEEP, check_state

pytestmark = pytest.mark.slow


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    missing = "Firefox is not installed (Debian: apt-get install firefox-esr)"
    program = require_program(find_firefox(), missing)
    with Firefox(program, tmp_path) as firefox:
        yield firefox


# The film has 24 frames per second.
STEPS = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    player.seek(12).wait_for("seeked", timeout_s=DEADLINE_S)
    steps = [player.frame_index]
    for frames in (1, 1, -1):
        player.step(frames).wait_for("seeked", timeout_s=DEADLINE_S)
        steps.append(player.frame_index)
    report(steps=steps)
"""


def test_the_player_in_firefox(lab: Lab, firefox: Firefox) -> None:
    copy_file(film(), lab.root / "film.mp4")
    show = SHOW.format(path="film.mp4", route="auto")
    book = NotebookFile(
        lab.root, "firefox", [show, STEPS, READ_STATE.format(work=SLEEP.strip("\n"))]
    )
    firefox.open(lab.url(book.file, workspace=book.name))
    firefox.wait_for("document.body.innerText.includes('Python 3 (ipykernel) | Idle')")
    firefox.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    firefox.evaluate(f"({RECORD})()")
    found = book.report(lambda: firefox.evaluate("0"), firefox.text)
    assert found["steps"] == [288, 289, 290, 289]
    found = book.report(lambda: firefox.evaluate("0"), firefox.text)
    print(f"Firefox: {check_state(found, firefox.evaluate('window.record'))}")
    assert found["route"] == "direct"
    assert firefox.errors == []
