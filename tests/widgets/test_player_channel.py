"""What a page posts is heard while a cell runs; waiting and pictures, without a browser."""

import asyncio
import io
import json
import struct
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.deadline import DEADLINE_S
from vidnb.errors import PlayerTimeout, VidnbError
from vidnb.server.sample import sample
from vidnb.widgets.player import snapshot
from vidnb.widgets.player.views import Report, Views
from vidnb.widgets.player.widget import Player, play


class Page:
    """A view that posts, as player_channel.js does; it answers Python's messages in a thread."""

    def __init__(self, player: Player, name: str = "view-1") -> None:
        self.player, self.name = player, name
        self.number = self.seq = 0
        self.threads: list[threading.Thread] = []
        self.on_message: Callable[[dict[str, Any]], None] = lambda _: None

    def post(self, *letters: dict[str, Any], name: str = "state") -> int:
        numbered = []
        for letter in letters:
            self.number += 1
            numbered.append({"n": self.number, **letter})
        body = {"v": 1, "view": self.name, "letters": numbered}
        return self.post_bytes(json.dumps(body).encode(), name)

    def post_bytes(self, data: bytes, name: str = "state") -> int:
        url = self.player._vidnb_channel.url + name
        try:
            with urllib.request.urlopen(url, data, timeout=DEADLINE_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def report(self, event: str, **state: object) -> int:
        return self.post({"kind": "state", "event": event, "seq": self.seq, **state})

    def told(self, message: dict[str, Any]) -> None:
        self.seq = message.get("seq", self.seq)
        thread = threading.Thread(target=self.on_message, args=(message,))
        self.threads.append(thread)
        thread.start()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    made = Page(play(sample()))
    monkeypatch.setattr(Player, "send", lambda _self, content, _buffers=None: made.told(content))
    yield made
    for thread in made.threads:
        thread.join(DEADLINE_S)
    made.player.close()


def png(wide: int, high: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (wide, high), "red").save(data, "PNG")
    return data.getvalue()


# State


def test_what_is_posted_is_known_at_once(page: Page) -> None:
    answer = page.report(
        "timeupdate", current_time=4.5, duration=10.0, paused=False, route="direct",
        buffered=[[0, 3], [4, 9.5]], size=[640, 360], routes_tried=[["proxy", "answered 404"]],
    )  # fmt: skip
    player = page.player
    assert answer == 204
    assert (player.current_time, player.duration, player.paused) == (4.5, 10.0, False)
    assert player.buffered == ((0.0, 3.0), (4.0, 9.5))
    assert player.size == (640, 360)
    assert (player.route, player.routes_tried) == ("direct", {"proxy": "answered 404"})


def test_before_any_report_nothing_is_known() -> None:
    player = play(sample())
    assert (player.buffered, player.size, player.routes_tried) == ((), None, {})
    player.close()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"v": 1}', b'{"letters": 3}', b"\xff", b"[" * 60_000]
)
def test_nonsense_is_told_the_sender(page: Page, data: bytes) -> None:
    assert page.post_bytes(data) == 400
    assert page.player._vidnb_views.report is None


def test_unknown_letters_are_ignored(page: Page) -> None:
    state = {"kind": "state", "event": "play", "current_time": 9}
    letters = [7, {**state, "v": 2}, {"kind": "other"}, {"kind": "picture"}]
    assert page.post_bytes(json.dumps({"v": 2, "view": "a", "letters": letters}).encode()) == 204
    assert page.post_bytes(json.dumps({"v": 1, "view": 3, "letters": [state]}).encode()) == 204
    assert page.player._vidnb_views.report is None


def test_an_old_message_never_overwrites_a_newer_one(page: Page) -> None:
    """Whichever road it took: the kernel reads what was sent to it long ago."""
    page.post({"kind": "ready"})
    page.report("pause", current_time=7.0)
    for number, kind in ((1, "state"), (2, "state"), (1, "gone")):
        late = {"v": 1, "view": page.name, "n": number, "kind": kind, "current_time": 1.0}
        page.player._handle_custom_msg({**late, "event": "pause"}, [])
    assert page.player.current_time == 7.0
    assert len(page.player._vidnb_views) == 1
    page.player._handle_custom_msg({**late, "n": 3, "kind": "state", "event": "pause"}, [])
    assert page.player.current_time == 1.0


def test_numbers_are_each_views_own() -> None:
    views = Views()
    assert [views.is_news("a", n) for n in (1, 3, 2, 3, 4)] == [True, True, False, False, True]
    assert views.is_news("b", 1)
    assert all(views.is_news("a", n) for n in (None, True, "1"))
    for n in range(1000):
        assert views.is_news(f"view-{n}", 1)
    assert views.is_news("a", 1), "a view that fell silent a thousand views ago is forgotten"


def test_a_report_takes_nothing_for_granted() -> None:
    parsed = Report.parse(
        {
            "buffered": [[0, 1], [3, 2], [1], "x", [None, 1]], "size": [0, 5], "volume": 7,
            "playback_rate": -1, "muted": 1, "routes_tried": [["a"], 3, ["b", 4]],
        },
        0.0,
    )  # fmt: skip
    assert parsed == Report(buffered=((0.0, 1.0),), routes_tried=(("b", "4"),))
    assert Report.parse({"buffered": 1, "size": 1, "routes_tried": 1}, 0.0) == Report()
    assert Report.parse({"volume": 0, "muted": True, "playback_rate": 2}, 0.0) == Report(
        volume=0.0, muted=True, playback_rate=2.0
    )


def test_between_two_reports_a_moving_video_moves_on() -> None:
    still = {"current_time": 4.0, "duration": 5.0, "playback_rate": 2.0, "paused": False}
    assert Report.parse(still, 10.0).now_at(10.2) == 4.0
    moving = Report.parse({**still, "moving": True}, 10.0)
    assert moving.now_at(10.2) == pytest.approx(4.4)
    assert moving.now_at(9.0) == 4.0
    assert moving.now_at(10.9) == 5.0, "never past the end, nor far from what is known"
    assert Report.parse({"current_time": 4.0, "moving": True}, 10.0).now_at(99.0) == 5.0


def test_a_report_that_waited_on_its_way_is_as_old_as_it_is() -> None:
    views = Views()

    def heard(at_s: float, sent_s: object, now_s: float) -> float:
        state = {"current_time": at_s, "paused": False, "moving": True, "sent_s": sent_s}
        views.heard("a", state, now_s)
        assert views.report is not None
        return views.report.now_at(now_s)

    assert heard(1.0, 500.0, 10.02) == pytest.approx(1.0)
    assert heard(2.0, 501.0, 11.4) == pytest.approx(2.38, abs=0.001), "it took 0.38 s longer"
    assert heard(3.0, 502.0, 12.01) == pytest.approx(3.0, abs=0.001), "the fastest so far"
    assert heard(4.0, None, 13.5) == 4.0
    views.gone("a")
    assert heard(5.0, 1.0, 14.0) == 5.0, "a page that was loaded anew has another clock"


def test_the_mailbox_goes_with_the_player(page: Page) -> None:
    page.player.close()
    assert page.report("pause") == 404


# Waiting


def test_waiting_ends_when_the_browser_says_so(page: Page) -> None:
    def obey(message: dict[str, Any]) -> None:
        page.report("seeking", seeking=True, paused=False)
        page.report("seeked", current_time=message["t_s"], paused=False)

    page.on_message = obey
    player = page.player
    assert player.seek(3).wait_for("seeked", timeout_s=DEADLINE_S) is player
    assert player.current_time == 3.0


def test_what_happened_before_the_wait_counts_and_before_the_command_does_not(page: Page) -> None:
    player = page.player
    page.report("seeked")
    player.seek(1)
    with pytest.raises(PlayerTimeout, match="did not report 'seeked' within 0 s"):
        player.wait_for("seeked", timeout_s=0)
    page.report("seeked")
    player.wait_for("seeked", timeout_s=0)
    with pytest.raises(TimeoutError):
        player.wait_for("seeked", timeout_s=0)


def test_the_end_of_a_seek_that_was_overtaken_does_not_count(page: Page) -> None:
    player = page.player
    player.seek(1)
    page.report("seeked", seeking=True)
    page.post({"kind": "state", "event": "seeked", "seq": 0})
    with pytest.raises(PlayerTimeout):
        player.wait_for("seeked", timeout_s=0)


def test_what_happens_once_stays_true(page: Page) -> None:
    page.report("route", route="direct")
    page.player.play()
    page.player.wait_for("route", timeout_s=0).wait_for("route", timeout_s=None)


def test_awaiting_blocks_no_loop(page: Page) -> None:
    player = page.player

    async def work() -> None:
        player.seek(2)
        waiting = asyncio.create_task(player.wait_for_async("seeked", timeout_s=DEADLINE_S))
        await asyncio.sleep(0)
        await asyncio.to_thread(page.report, "seeked")
        assert await waiting is player
        with pytest.raises(PlayerTimeout, match="did not report 'seeked'"):
            await player.wait_for_async("seeked", timeout_s=0)
        await asyncio.to_thread(page.report, "seeked")
        await player.wait_for_async("seeked", timeout_s=None)
        assert player._vidnb_happenings._awaiting == []

    asyncio.run(work())


def test_the_sentence_says_why_nothing_was_heard(page: Page) -> None:
    player = page.player
    with pytest.raises(PlayerTimeout, match="for no page has shown it yet"):
        player.wait_for("seeked", timeout_s=0)
    page.report("play", current_time=61, paused=False)
    with pytest.raises(PlayerTimeout, match=r"\(playing at 1:01\): is its page still open"):
        player.wait_for("seeked", timeout_s=0)
    page.report("error", error="It broke.")
    for timeout_s in (0, None):  # nothing more will happen, so nothing is waited for
        with pytest.raises(PlayerTimeout, match=r"because it has failed: It broke\."):
            player.wait_for("seeked", timeout_s=timeout_s)
        with pytest.raises(PlayerTimeout, match=r"because it has failed: It broke\."):
            asyncio.run(player.wait_for_async("seeked", timeout_s=timeout_s))
    page.report("recovered")
    page.report("seeked")
    player.wait_for("seeked", timeout_s=0)


def test_inside_a_cell_the_kernels_channel_cannot_be_heard_and_that_is_said(page: Page) -> None:
    player = page.player
    state = {"v": 1, "view": "a", "kind": "state", "event": "route", "route": "kernel"}
    player._handle_custom_msg(state, [])
    with pytest.raises(PlayerTimeout, match=r"cannot hear it .* `await player\.wait_for_async"):
        player.wait_for("seeked", timeout_s=10 * DEADLINE_S)
    with pytest.raises(PlayerTimeout, match=r"snapshot\(\) cannot .*snapshot_async"):
        player.snapshot()
    # Heard on another thread (a subshell's), it can be waited for.
    player._vidnb_comm_thread = -1
    with pytest.raises(PlayerTimeout, match="is its page still open"):
        player.wait_for("seeked", timeout_s=0)


def test_on_ipykernel_6_not_even_a_cell_that_awaits_hears(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = page.player
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(6, 30, 1)))
    with pytest.raises(PlayerTimeout, match=r"no page .* ipykernel 6 hears a page between two"):
        asyncio.run(player.wait_for_async("seeked", timeout_s=0))
    state = {"v": 1, "view": "a", "kind": "state", "event": "route", "route": "kernel"}
    player._handle_custom_msg(state, [])
    with pytest.raises(PlayerTimeout, match=r"wait_for_async\('seeked'\) cannot hear it .* next"):
        asyncio.run(player.wait_for_async("seeked", timeout_s=None))
    with pytest.raises(PlayerTimeout, match=r"snapshot_async\(\) cannot hear it"):
        asyncio.run(player.snapshot_async(timeout_s=None))
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(7, 2, 0)))
    with pytest.raises(PlayerTimeout, match="is its page still open"):
        asyncio.run(player.wait_for_async("seeked", timeout_s=0))


@pytest.mark.parametrize("bad", [-1, "5", True, float("nan")])
def test_nonsense_is_a_value_error(page: Page, bad: Any) -> None:
    for call in (page.player.wait_for, page.player.wait_for_async):
        with pytest.raises(ValueError, match="in seconds, not negative"):
            asyncio.run(_awaited(call("seeked", timeout_s=bad)))
    with pytest.raises(ValueError, match="no event 'seekd'"):
        page.player.wait_for("seekd")


async def _awaited(result: Any) -> None:
    await result


# Pictures


def test_a_snapshot_comes_by_http(page: Page) -> None:
    def draw(message: dict[str, Any]) -> None:
        assert message["kind"] == "picture"
        assert message["most_pixels"] == 3840 * 2160
        page.post_bytes(png(64, 36), f"picture-{message['number']}")

    page.on_message = draw
    picture = page.player.snapshot()
    assert (picture.size, picture.getpixel((5, 5))) == ((64, 36), (255, 0, 0))
    assert asyncio.run(page.player.snapshot_async()).size == (64, 36)


def test_without_pillow_it_is_the_png(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.on_message = lambda message: page.player._handle_custom_msg(
        {"v": 1, "view": "a", "kind": "picture", "number": message["number"]}, [memoryview(red)]
    )
    red = png(8, 8)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert page.player.snapshot() == red


def test_why_there_is_no_picture_is_said(page: Page) -> None:
    page.on_message = lambda message: page.player._handle_custom_msg(
        {"v": 1, "view": "a", "kind": "picture", "number": message["number"], "reason": "no frame"},
        [],
    )
    with pytest.raises(VidnbError, match=r"sample\.mp4 has no picture to give: no frame\."):
        page.player.snapshot()
    page.on_message = lambda _: None
    with pytest.raises(PlayerTimeout, match="did not send its picture within 0 s"):
        page.player.snapshot(timeout_s=0)
    with pytest.raises(PlayerTimeout, match="did not send its picture"):
        asyncio.run(page.player.snapshot_async(timeout_s=0))


def test_what_is_no_picture_is_refused(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = bytearray(png(8, 8))
    huge[16:24] = struct.pack(">II", 100_000, 100_000)
    answers: list[int] = []

    def draw(message: dict[str, Any]) -> None:
        name = f"picture-{message['number']}"
        nonsense = (b"", b"GIF89a", bytes(huge), b"x" * 2000)
        answers.extend(page.post_bytes(data, name) for data in nonsense)
        page.player._handle_custom_msg(
            {"v": 1, "view": "a", "kind": "picture", "number": message["number"]}, [b"GIF89a"]
        )
        answers.append(page.post_bytes(png(8, 8), name))

    page.on_message = draw
    monkeypatch.setattr(snapshot, "MOST_PICTURE_BYTES", 1500)
    assert page.player.snapshot().size == (8, 8)
    assert page.post_bytes(png(8, 8), "picture-1") == 404
    for thread in page.threads:
        thread.join(DEADLINE_S)
    assert answers == [400, 400, 400, 413, 204]
