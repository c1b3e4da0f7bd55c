"""Files of any format in real browsers: the first picture, frames after seeks, sound, sharing."""

import base64
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

import vidnb
from tests.browser.any_file import (
    FORMATS,
    FPS,
    Format,
    format_file,
    large_file,
    long_file,
    times_of,
)
from tests.browser.cells import NotebookFile, OpenNotebook
from tests.browser.firefox import Firefox, find_firefox
from tests.browser.lab import Chromium, Lab, require_program
from tests.browser.sound import RECORD as RECORD_SOUND
from tests.browser.sound import SEEKS_S, delay_s, sync_clip
from tests.browser.test_compare import switch_theme
from tests.browser.test_stream import WithheldPart
from tests.clips import shown_number
from tests.origin import Film, Origin
from vidnb.server.folder import serve_folder

ROOT = Path(__file__).parents[2]
FRAME_S = 1 / FPS
SHOTS = Path(__file__).parent / "shots"
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
            # Firefox learns the duration of a fragmented file that declares none as it reads.
            found["duration_s"] = player.duration
        except Exception as error:
            found["failed"] = repr(error)
        report(**found, delivery=player.delivery, route=player.route, size=player.size,
               error=player.error, tried=player.routes_tried)
        player.close()
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No segments of earlier tests for what is served by the process of the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
    """Read the report of each format, print the times, and fail with all that is wrong."""
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


@pytest.mark.slow
def test_sound_is_in_step_with_the_pictures(chromium: Chromium) -> None:
    """Compared with a file that plays as it is, also after seeks.

    Without a device for sound, the clock of Web Audio does not run in Firefox.
    """
    delays_s = {}
    for name, delivery in SYNC_CLIPS.items():
        with vidnb.serve(sync_clip(name)) as served:
            page = chromium.new_page()
            page.goto(served.page_url)
            page.wait_for_function("() => document.querySelector('video').readyState >= 2")
            is_fed = page.evaluate("document.querySelector('video').src.startsWith('blob:')")
            assert is_fed == (delivery != "direct")
            delays_s[name] = [delay_s(part) for part in page.evaluate(RECORD_SOUND, SEEKS_S)]
            page.close()
        print(f"{name}: " + ", ".join(f"{1000 * one:.0f} ms" for one in delays_s[name]))
    constant_s = median(delays_s["sync.mp4"])
    for name, found in delays_s.items():
        assert len(found) == 1 + len(SEEKS_S)
        assert max(abs(one - constant_s) for one in found) < 0.04, name


SEEK_OFTEN = """
    import random, threading
    from contextlib import suppress
    from vidnb.media.segments import SegmentMaker
    made, opened = [], []
    make, init = SegmentMaker.segment, SegmentMaker.init
    def counted(self, number):
        made.append(number)
        return make(self, number)
    def counted_init(self):
        opened.append(self)
        return init(self)
    SegmentMaker.segment, SegmentMaker.init = counted, counted_init
    def open_things():
        # The workers of pools stay, and their number is bounded.
        workers = sum("-worker-" in thread.name for thread in threading.enumerate())
        targets = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # that of the list itself
                targets.append(os.readlink("/proc/self/fd/" + name))
        # The browser keeps some of its connections.
        files = [target for target in targets if not target.startswith("socket:")]
        return len(files), len(os.listdir("/proc/self/task")) - workers
    def seek_often(count):
        player = vidnb.play({path!r}, muted=True, width=320)
        box.children = [player]
        player.wait_for("loadeddata", timeout_s=DEADLINE_S)
        pictures = []
        for number in range(count):
            index = random.randrange(600)
            # Half of them while the one before is not yet done.
            player.seek({first_s} + (index + 0.5) / 10)
            time.sleep(random.choice([0, 0.02, 0.2]))
            if number % 20 == 19:
                player.seek({first_s} + (index + 0.5) / 10)
                player.wait_for("seeked", timeout_s=DEADLINE_S)
                pictures.append((index, shown_number(np.asarray(player.snapshot(DEADLINE_S)))))
        during = open_things()
        player.close()
        return pictures, during, player.delivery
    random.seed(1)
    seek_often(20)
    def settled():
        # Threads and files of the player end a moment after it is closed.
        end_s, lowest = time.monotonic() + 8, open_things()
        while time.monotonic() < end_s:
            time.sleep(0.2)
            lowest = tuple(map(min, lowest, open_things()))
        return lowest
    before = settled()
    pictures, during, delivery = seek_often(200)
    report(pictures=pictures, before=before, during=during, after=settled(), delivery=delivery,
           made=len(made), distinct=len(set(made)), threads=[t.name for t in threading.enumerate()])
"""
SHARE = """
    made.clear(), opened.clear()
    two = [vidnb.play({other!r}, muted=True, width=320) for _ in range(2)]
    box.children = two
    for player in two:
        player.wait_for("loadeddata", timeout_s=DEADLINE_S)
    pictures = []
    for player, index in zip(two, (100, 101)):
        player.seek({first_s} + (index + 0.5) / 10).wait_for("seeked", timeout_s=DEADLINE_S)
        pictures.append(shown_number(np.asarray(player.snapshot(DEADLINE_S))))
    time.sleep(2)  # read ahead
    report(pictures=pictures, made=sorted(made), opened=len(opened))
    for player in two:
        player.close()
"""


@pytest.mark.slow
def test_many_seeks_leave_no_thread_or_file_and_players_share_segments(
    lab: Lab, chromium: Chromium, tmp_path: Path
) -> None:
    other = shutil.copy(long_file(), tmp_path / "other.avi")
    first_s = times_of(long_file()).first_s
    texts = [
        SHOW,
        SEEK_OFTEN.format(path=str(long_file()), first_s=first_s),
        SHARE.format(other=str(other), first_s=first_s),
    ]
    book = OpenNotebook(lab, chromium, "any-seeks", texts, "127.0.0.1")
    found = book.report()
    print(found)
    assert found["delivery"] == "transcode"
    assert len(found["pictures"]) == 10
    assert [shown for _, shown in found["pictures"]] == [index for index, _ in found["pictures"]]
    assert found["after"][0] <= found["before"][0]
    assert found["after"][1] <= found["before"][1]
    assert found["made"] == found["distinct"]  # each segment was made once at most
    found = book.report()
    print(found)
    assert found["pictures"] == [100, 101]
    assert found["opened"] == 1
    assert len(found["made"]) == len(set(found["made"])) > 3
    assert book.errors == []


PIXELS = """(video) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
}"""


def shown_in(page: Page) -> int | None:
    """Return the number that the video of a page shows."""
    png = base64.b64decode(page.locator("video").evaluate(PIXELS))
    return shown_number(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))


def check_page(page: Page, path: Path) -> None:
    """Check the duration, the first frame and a frame at 80 % of the video of a page."""
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    video = page.locator("video")
    times = times_of(path)
    assert video.evaluate("v => v.duration") == pytest.approx(times.duration_s, abs=FRAME_S)
    assert shown_in(page) == 0
    video.evaluate(
        "(v, t) => new Promise(done => {v.addEventListener('seeked', done, {once: true});"
        " v.currentTime = t})",
        times.of_frame(SEEKS[0]),
    )
    assert shown_in(page) == SEEKS[0]


def listen(page: Page) -> list[str]:
    """Return a list to which the messages of the console are added."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mpeg4-b-frames.avi", "h264.ts"])
def test_the_pages_of_a_file_and_of_a_folder_play_it(
    chromium: Chromium, tmp_path: Path, name: str
) -> None:
    path = format_file(name)
    page = chromium.new_page()
    problems = listen(page)
    with vidnb.serve(path) as served:
        page.goto(served.page_url)
        check_page(page, path)
    folder = tmp_path / "Films"
    folder.mkdir()
    shutil.copy(path, folder)
    with serve_folder(folder) as served_folder:
        page.goto(served_folder.page_url)
        page.get_by_text(name, exact=True).click()
        check_page(page, path)
    assert problems == []


COMPARE = """
    await both.players[0].wait_for_async("loadeddata", timeout_s=DEADLINE_S)
    await both.players[1].wait_for_async("loadeddata", timeout_s=DEADLINE_S)
    deliveries = [player.delivery for player in both.players]
    pictures = []
    for index in (200, 50, 123):
        both.seek((index + 0.5) / 25)
        for player in both.players:
            await player.wait_for_async("seeked", timeout_s=DEADLINE_S)
        pictures.append([await picture(player) for player in both.players])
    both.seek(1)
    report(deliveries=deliveries, pictures=pictures)
"""
TIMES = "() => [...document.querySelectorAll('.vidnb-compare video')].map((v) => v.currentTime)"


@pytest.mark.slow
def test_a_direct_and_a_transcoded_video_share_one_clock(lab: Lab, chromium: Chromium) -> None:
    names = [str(format_file(name)) for name in ("h264-tail.mp4", "mjpeg.avi")]
    show = f"both = vidnb.compare(*{names!r})\nboth"
    book = OpenNotebook(lab, chromium, "any-compare", [SHOW, show, COMPARE], "127.0.0.1")
    found = book.report()
    assert found["deliveries"] == ["direct", "transcode"]
    assert found["pictures"] == [[200, 200], [50, 50], [123, 123]]
    page = book.page
    page.get_by_role("button", name="Play all").click()
    page.wait_for_function(f"() => ({TIMES})().every((time) => time >= 4)")
    differences = []
    for _ in range(20):
        first_s, second_s = page.evaluate(TIMES)
        differences.append(abs(first_s - second_s))
        page.wait_for_timeout(50)
    print(f"direct and transcoded: {1000 * median(differences):.0f} ms apart")
    assert median(differences) <= FRAME_S
    assert book.errors == []


PART = """
    player = vidnb.play({path!r}, muted=True, width=400, start_s={start_s}, end_s={end_s})
    player
"""
PLAY_PART = """
    player.wait_for("loadeddata", timeout_s=DEADLINE_S)
    while await_picture(player) is None:
        time.sleep(0.05)
    pictures = [await_picture(player)]
    player.play().wait_for("ended", timeout_s=DEADLINE_S)
    pictures.append(await_picture(player))
    report(pictures=pictures, delivery=player.delivery, ended=player.ended)
"""


@pytest.mark.slow
def test_a_part_of_a_remuxed_file_starts_and_ends_at_its_frames(
    lab: Lab, chromium: Chromium
) -> None:
    path = format_file("h264.mkv")
    times = times_of(path)
    part = PART.format(path=str(path), start_s=times.of_frame(75), end_s=times.of_frame(119))
    helper = """
    def await_picture(player):
        return shown_number(np.asarray(player.snapshot(DEADLINE_S)))
    """
    book = OpenNotebook(lab, chromium, "any-part", [SHOW, helper, part, PLAY_PART], "127.0.0.1")
    found = book.report()
    assert found["delivery"] == "remux"
    assert found["pictures"] == [75, 119]
    assert found["ended"]
    assert book.errors == []


STREAM = """
    player = vidnb.play({url!r}, muted=True, width=400)
    player
"""
SEEK_AHEAD = """
    player.wait_for("loadeddata", timeout_s=DEADLINE_S)
    pictures = [shown_number(np.asarray(player.snapshot(DEADLINE_S)))]
    is_done = [player.download.done]
    player.seek({time_s}).wait_for("seeked", timeout_s=DEADLINE_S)
    pictures.append(shown_number(np.asarray(player.snapshot(DEADLINE_S))))
    is_done.append(player.download.done)
    report(pictures=pictures, is_done=is_done, delivery=player.delivery, duration=player.duration)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large.mkv", "large.avi"])
def test_a_file_plays_while_it_is_downloaded(lab: Lab, chromium: Chromium, name: str) -> None:
    """A part of the middle arrives after the pictures before it and behind it were seen."""
    path = large_file(name)
    data, times = path.read_bytes(), times_of(path)
    film = Film(data, media_type="application/octet-stream")
    handler = WithheldPart(range(len(data) * 4 // 10, len(data) * 5 // 10), None)
    with Origin(film, otherwise=handler, rate=2e7) as origin:
        url = f"{origin.url.rpartition('/')[0]}/{name}"
        ahead = SEEK_AHEAD.format(time_s=times.of_frame(SEEKS[0]))
        texts = [SHOW, STREAM.format(url=url), ahead]
        book = OpenNotebook(lab, chromium, f"any-stream-{name}", texts, "127.0.0.1")
        found = book.report()
        handler.resume.set()
    print(found)
    assert found["pictures"] == [0, SEEKS[0]]
    assert found["is_done"] == [False, False]
    assert found["duration"] == pytest.approx(times.duration_s, abs=FRAME_S)
    assert book.errors == []


SHOW_SHOTS = """
    good = vidnb.play({good!r}, muted=True, width={width})
    good
"""
SHOW_BAD = """
    bad = vidnb.play({bad!r}, width={width})
    bad
"""


@pytest.mark.slow
def test_labels_and_the_error_of_a_damaged_file_in_both_themes_and_a_narrow_cell(
    lab: Lab, chromium: Chromium, tmp_path: Path
) -> None:
    SHOTS.mkdir(exist_ok=True)
    bad = tmp_path / "damaged.avi"
    good = format_file("mpeg4-b-frames.avi")
    noise = np.random.default_rng(1).bytes(60_000)
    bad.write_bytes(good.read_bytes()[:200] + noise)
    texts = [
        SHOW,
        *(SHOW_SHOTS.format(good=str(good), width=width) for width in (640, 300)),
        *(SHOW_BAD.format(bad=str(bad), width=width) for width in (640, 300)),
    ]
    book = OpenNotebook(lab, chromium, "any-shots", texts, "127.0.0.1")
    page = book.page
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].filter((v) => v.readyState >= 2).length >= 2"
    )
    labels = page.locator(".vidnb-delivery", has_text="transcoded")
    assert labels.count() == 2
    assert labels.first.get_attribute("title")
    page.locator("[role=alert], .vidnb-notice").filter(has_text="damaged.avi").last.wait_for()
    networks = page.locator("video").evaluate_all("all => all.map((one) => one.networkState)")
    assert networks[2:] == [0, 0], "the controls show that it is loading"
    page.set_viewport_size({"width": 1280, "height": 2600})
    page.wait_for_timeout(500)
    page.screenshot(path=SHOTS / "any-file-light.png")
    switch_theme(page, "JupyterLab Dark")
    page.wait_for_timeout(500)
    page.screenshot(path=SHOTS / "any-file-dark.png")
    switch_theme(page, "JupyterLab Light")
    assert page.locator(".vidnb-player").evaluate_all(
        "all => all.every((one) => one.scrollWidth <= one.clientWidth + 1)"
    )
    assert book.errors == []
