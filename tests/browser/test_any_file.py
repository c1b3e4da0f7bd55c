"""Files of any format in real browsers: the first picture, frames after seeks, sound, sharing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import vidnb
from tests.browser.any_file import FORMATS, FPS, Format, format_file, times_of
from tests.browser.cells import NotebookFile, OpenNotebook
from tests.browser.firefox import Firefox, find_firefox
from tests.browser.lab import Chromium, Lab, require_program
from tests.browser.sound import RECORD as RECORD_SOUND
from tests.browser.sound import SEEKS_S, delay_s, sync_clip

ROOT = Path(__file__).parents[2]
FRAME_S = 1 / FPS
DEFAULT_TIER = ("h264.mkv", "mpeg4-b-frames.avi")
SEEKS = (200, 50)  # frames at 80 % and 20 %

# With an empty cache of segments.
SHOW = f"""
    import tempfile
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    import numpy as np
    import ipywidgets
    import vidnb
    from tests.clips import shown_number
    async def picture(player):
        return shown_number(np.asarray(await player.snapshot_async(DEADLINE_S)))
    box = ipywidgets.VBox()
    box
"""
# Awaits, so that messages arrive by the kernel channel, too.
LOOP = """
    for name, path, times_s in {files!r}:
        start_s = time.perf_counter()
        player = vidnb.play(path, muted=True, width=480, route={route!r})
        box.children = [player]
        found = dict(name=name)
        try:
            await player.wait_for_async("loadeddata", timeout_s=DEADLINE_S / 4)
            found["first_s"] = time.perf_counter() - start_s
            found["pictures"] = [await picture(player)]
            for time_s in times_s:
                start_s = time.perf_counter()
                player.seek(time_s)
                await player.wait_for_async("seeked", timeout_s=DEADLINE_S / 4)
                found.setdefault("seeks_s", []).append(time.perf_counter() - start_s)
                found["pictures"].append(await picture(player))
            # Firefox knows the duration of a fragmented file that declares none after it has read it.
            found["duration_s"] = player.duration
        except Exception as error:
            found["failed"] = repr(error)
        report(**found, delivery=player.delivery, route=player.route, size=player.size,
               error=player.error, tried=player.routes_tried)
        player.close()
"""
HEVC = 'document.createElement("video").canPlayType(\'video/mp4; codecs="hev1.1.6.L93.90"\')'
FED_HEVC = "MediaSource.isTypeSupported('video/mp4; codecs=\"hvc1.1.6.L93.90\"')"


def cells(names: tuple[str, ...], route: str) -> list[str]:
    files = []
    for name in names:
        path = format_file(name)
        times_s = [times_of(path).of_frame(index) for index in SEEKS]
        files.append((name, str(path), times_s))
    return [SHOW, LOOP.format(files=files, route=route)]


def expected_delivery(name: str, route: str, plays_hevc: bool) -> str:
    """Return how a format is delivered; HEVC by whether the browser has a decoder."""
    found: Format = FORMATS[name]
    if name.startswith("hevc") and plays_hevc:
        return "remux" if route == "kernel" else "direct"
    return found.kernel if route == "kernel" else found.http


def check(
    browser: str, route: str, names: tuple[str, ...], report: Callable[[], Any], plays_hevc: bool
) -> None:
    """Read the report of each format, print the times, and fail with all that is not as expected."""
    wrong = []
    for name in names:
        found = report()
        print(
            f"{browser} {route} {name}: first picture {found.get('first_s', -1):.2f} s, seeks "
            + ", ".join(f"{one:.2f} s" for one in found.get("seeks_s", []))
        )
        is_right = (
            found["name"] == name
            and found.get("pictures") == [0, *SEEKS]
            and found["delivery"] == expected_delivery(name, route, plays_hevc)
            and found["route"] == route
            and abs(found["duration_s"] - times_of(format_file(name)).duration_s) <= FRAME_S
            and found["error"] is None
            and found["size"] == ([160, 120] if name == "odd-size.mkv" else [1280, 720])
        )
        if not is_right:
            wrong.append(found)
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    ("names", "route"),
    [
        (DEFAULT_TIER, "direct"),
        *(
            pytest.param(tuple(FORMATS), route, marks=pytest.mark.slow)
            for route in ("direct", "proxy", "kernel")
        ),
    ],
    ids=["two-direct", "direct", "proxy", "kernel"],
)
def test_chromium_plays_every_format(
    lab: Lab, chromium: Chromium, names: tuple[str, ...], route: str
) -> None:
    title = f"any-{len(names)}-{route}"
    book = OpenNotebook(lab, chromium, title, cells(names, route), "127.0.0.1")
    plays_hevc = bool(book.page.evaluate(FED_HEVC if route == "kernel" else HEVC))
    check("Chromium", route, names, book.report, plays_hevc)
    assert book.errors == []


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    missing = "Firefox is not installed (Debian: apt-get install firefox-esr)"
    with Firefox(require_program(find_firefox(), missing), tmp_path) as firefox:
        yield firefox


def open_in_firefox(
    lab: Lab, firefox: Firefox, title: str, texts: list[str]
) -> Callable[[], dict[str, Any]]:
    """Run a notebook in Firefox; return the function that waits for its next report."""
    book = NotebookFile(lab.root, title, texts)
    firefox.open(lab.url(book.file, workspace=book.name))
    firefox.wait_for("document.body.innerText.includes('Python 3 (ipykernel) | Idle')")
    firefox.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    return lambda: book.report(lambda: firefox.evaluate("0"), firefox.text)


@pytest.mark.slow
@pytest.mark.parametrize("route", ["direct", "proxy", "kernel"])
def test_firefox_plays_every_format(lab: Lab, firefox: Firefox, route: str) -> None:
    names = tuple(FORMATS)
    report = open_in_firefox(lab, firefox, f"any-firefox-{route}", cells(names, route))
    plays_hevc = bool(firefox.evaluate(FED_HEVC if route == "kernel" else HEVC))
    check("Firefox", route, names, report, plays_hevc)
    assert firefox.errors == []


# How they are delivered; their own sound is in step by less than 40 ms.
SYNC_CLIPS = {
    "sync.mp4": "direct",
    "sync.mkv": "remux",
    "sync.ts": "remux",
    "sync-ac3.mkv": "remux",
    "sync.avi": "transcode",
    "sync.mpg": "transcode",
    "sync.wmv": "transcode",
}


def check_sound(browser: str, record: Callable[[str], Any]) -> None:
    """Compare the delays between flashes and clicks with those of the file that plays as it is."""
    delays_s = {}
    for name in SYNC_CLIPS:
        with vidnb.serve(sync_clip(name)) as served:
            delays_s[name] = [delay_s(part) for part in record(served.page_url)]
        print(f"{browser} {name}: " + ", ".join(f"{1000 * one:.0f} ms" for one in delays_s[name]))
    constant_s = median(delays_s["sync.mp4"])
    for name, found in delays_s.items():
        assert len(found) == 1 + len(SEEKS_S)
        assert max(abs(one - constant_s) for one in found) < 0.04, name


@pytest.mark.slow
def test_sound_is_in_step_in_chromium(chromium: Chromium) -> None:
    def record(url: str) -> Any:
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_function("() => document.querySelector('video').readyState >= 2")
        parts = page.evaluate(RECORD_SOUND, SEEKS_S)
        page.close()
        return parts

    check_sound("Chromium", record)


@pytest.mark.slow
def test_sound_is_in_step_in_firefox(firefox: Firefox) -> None:
    def record(url: str) -> Any:
        firefox.open(url)
        firefox.wait_for("document.querySelector('video').readyState >= 2")
        return firefox.evaluate(f"({RECORD_SOUND})({list(SEEKS_S)})")

    check_sound("Firefox", record)
    assert firefox.errors == []
