"""The player in a real Firefox: JupyterLab, the direct road, inside a running cell."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets import film
from tests.browser.burned_in import RECORD, SLEEP, TRUTH, judged
from tests.browser.cells import SHOW, Book, copy_of
from tests.browser.firefox import Firefox, find_firefox
from tests.browser.lab import Lab, needed

pytestmark = pytest.mark.slow


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    missing = "no Firefox on this machine (Debian: apt-get install firefox-esr)"
    program = needed(find_firefox(), missing)
    with Firefox(program, tmp_path) as firefox:
        yield firefox


# The film has 24 frames a second, and nothing of it was played.
STEPS = """
    player.wait_for("route", timeout_s=DEADLINE_S)
    began = player.seek(12).wait_for("seeked", timeout_s=DEADLINE_S).current_time
    steps = []
    for frames in (1, 1, -1):
        player.step(frames).wait_for("seeked", timeout_s=DEADLINE_S)
        steps.append((player.current_time - began) * 24)
    tell(steps=steps)
"""


def test_the_player_in_firefox(lab: Lab, firefox: Firefox) -> None:
    copy_of(film(), lab.root / "film.mp4")
    show = SHOW.format(path="film.mp4", route="auto")
    book = Book(lab.root, "firefox", [show, STEPS, TRUTH.format(work=SLEEP.strip("\n"))])
    firefox.open(lab.url(book.file, workspace=book.name))
    firefox.wait_for("document.body.innerText.includes('Python 3 (ipykernel) | Idle')")
    firefox.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    firefox.evaluate(f"({RECORD})()")
    found = book.found(lambda: firefox.evaluate("0"), firefox.text)
    assert found["steps"] == pytest.approx([1, 2, 1], abs=0.2), "frames from where it stood"
    found = book.found(lambda: firefox.evaluate("0"), firefox.text)
    print(f"Firefox: {judged(found, firefox.evaluate('window.record'))}")
    assert found["route"] == "direct"
    assert firefox.errors == []
