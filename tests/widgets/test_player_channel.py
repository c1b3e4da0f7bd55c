"""Messages that a page posts, waiting for events and snapshots, without a browser."""

import asyncio
import io
import json
import struct
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.deadline import DEADLINE_S
from tests.widgets.comm import deliver
from vidnb.errors import PlayerTimeout, Unreachable, VidnbError
from vidnb.server.sample import sample
from vidnb.widgets.player import snapshot
from vidnb.widgets.player.channel import Outbox
from vidnb.widgets.player.views import Report, Views
from vidnb.widgets.player.widget import Player, play


class Page:
    """A view that posts its messages; it responds to Python's messages on a thread."""

    def __init__(self, player: Player, name: str = "view-1") -> None:
        self.player, self.name = player, name
        self.number = self.seq = 0
        self.threads: list[threading.Thread] = []
        self.on_message: Callable[[dict[str, Any]], None] = lambda _: None

    def post(self, *messages: dict[str, Any], name: str = "state") -> int:
        numbered = []
        for message in messages:
            self.number += 1
            numbered.append({"n": self.number, **message})
        body = {"v": 1, "view": self.name, "messages": numbered}
        return self.post_bytes(json.dumps(body).encode(), name)

    def post_bytes(self, data: bytes, name: str = "state") -> int:
        url = self.player._vidnb_channel.url + name
        try:
            with urllib.request.urlopen(url, data, timeout=DEADLINE_S) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def report(self, event: str, **state: object) -> int:
        return self.post({"kind": "state", "event": event, "seq": self.seq, **state})

    def receive(self, message: dict[str, Any]) -> None:
        self.seq = message.get("seq", self.seq)
        thread = threading.Thread(target=self.on_message, args=(message,))
        self.threads.append(thread)
        thread.start()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    made = Page(play(sample()))
    monkeypatch.setattr(Player, "send", lambda _self, content, _buffers=None: made.receive(content))
    yield made
    for thread in made.threads:
        thread.join(DEADLINE_S)
    made.player.close()


def png(wide: int, high: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (wide, high), "red").save(data, "PNG")
    return data.getvalue()


# State


def test_posted_state_is_known_at_once(page: Page) -> None:
    status = page.report(
        "timeupdate", current_time=4.5, duration=10.0, paused=False, route="direct",
        buffered=[[0, 3], [4, 9.5]], size=[640, 360], routes_tried=[["proxy", "answered 404"]],
    )  # fmt: skip
    player = page.player
    assert status == 204
    assert (player.current_time, player.duration, player.paused) == (4.5, 10.0, False)
    assert player.buffered == ((0.0, 3.0), (4.0, 9.5))
    assert player.size == (640, 360)
    assert (player.route, player.routes_tried) == ("direct", {"proxy": "answered 404"})


def test_before_any_report_nothing_is_known() -> None:
    player = play(sample())
    assert (player.buffered, player.size, player.routes_tried) == ((), None, {})
    player.close()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"v": 1}', b'{"messages": 3}', b"\xff", b"[" * 60_000]
)
def test_an_invalid_body_is_a_400(page: Page, data: bytes) -> None:
    assert page.post_bytes(data) == 400
    assert page.player._vidnb_views.report is None


def test_unknown_messages_are_ignored(page: Page) -> None:
    state = {"kind": "state", "event": "play", "current_time": 9}
    messages = [7, {**state, "v": 2}, {"kind": "other"}, {"kind": "snapshot"}]
    assert page.post_bytes(json.dumps({"v": 2, "view": "a", "messages": messages}).encode()) == 204
    assert page.post_bytes(json.dumps({"v": 1, "view": 3, "messages": [state]}).encode()) == 204
    assert page.player._vidnb_views.report is None


def test_an_old_message_never_overwrites_a_newer_one(page: Page) -> None:
    """A busy kernel may read a message long after a later one was posted."""
    page.post({"kind": "ready"})
    page.report("pause", current_time=7.0)
    for number, kind in ((1, "state"), (2, "state"), (1, "bye")):
        late = {"v": 1, "view": page.name, "n": number, "kind": kind, "current_time": 1.0}
        deliver(page.player, {**late, "event": "pause"})
    assert page.player.current_time == 7.0
    assert len(page.player._vidnb_views) == 1
    deliver(page.player, {**late, "n": 3, "kind": "state", "event": "pause"}, [])
    assert page.player.current_time == 1.0


def test_the_event_of_a_message_that_was_overtaken_counts_once(page: Page) -> None:
    """ipykernel's subshells may swap two messages of the comm."""
    player, events = page.player, list[str]()
    player.on("seeked", lambda player: events.append(f"seeked at {player.current_time}"))
    player.seek(3)
    head = {"v": 1, "view": page.name, "kind": "state", "seq": 1}
    first = {**head, "n": 2, "event": "seeked", "current_time": 1.0}
    deliver(player, {**head, "n": 1, "event": "seeking", "seeking": True})
    deliver(player, {**head, "n": 3, "event": "timeupdate", "current_time": 3.0})
    for _ in range(2):
        deliver(player, first)
    player.wait_for("seeked", timeout_s=0)
    player.seek(4)
    deliver(player, {**head, "n": 4, "event": "pause"})
    deliver(player, {**head, "n": 9, "seq": 2, "event": "timeupdate", "current_time": 3.0})
    deliver(player, {**first, "n": 5})
    with pytest.raises(PlayerTimeout):
        player.wait_for("seeked", timeout_s=0)
    assert events == 2 * ["seeked at 3.0"]


def test_only_so_many_overtaken_messages_are_remembered() -> None:
    views = Views()
    assert views.is_new("a", 1)
    assert views.is_new("a", 10_000)
    assert not views.is_new("a", 9_000)
    assert [views.is_late("a", n) for n in (9_000, 9_950, 9_950, None, "1")] == [
        *(False, True, False, False, False)
    ]
    assert not views.is_late("b", 1)


def test_each_view_numbers_its_own_messages() -> None:
    views = Views()
    assert [views.is_new("a", n) for n in (1, 3, 2, 3, 4)] == [True, True, False, False, True]
    assert views.is_new("b", 1)
    assert all(views.is_new("a", n) for n in (None, True, "1"))
    for n in range(1000):
        assert views.is_new(f"view-{n}", 1)
    assert views.is_new("a", 1), "a view is forgotten after a thousand others"


def test_invalid_entries_of_a_report_are_left_out() -> None:
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


def test_the_position_of_a_moving_video_is_extrapolated() -> None:
    still = {"current_time": 4.0, "duration": 5.0, "playback_rate": 2.0, "paused": False}
    assert Report.parse(still, 10.0).position_at(10.2) == 4.0
    moving = Report.parse({**still, "moving": True}, 10.0)
    assert moving.position_at(10.2) == pytest.approx(4.4)
    assert moving.position_at(9.0) == 4.0
    assert moving.position_at(10.9) == 5.0, "not past the end"
    assert Report.parse({"current_time": 4.0, "moving": True}, 10.0).position_at(99.0) == 5.0


def test_a_delayed_report_is_extrapolated_from_when_it_was_sent() -> None:
    views = Views()

    def position(at_s: float, sent_s: object, now_s: float) -> float:
        state = {"current_time": at_s, "paused": False, "moving": True, "sent_s": sent_s}
        views.update("a", state, now_s)
        assert views.report is not None
        return views.report.position_at(now_s)

    assert position(1.0, 500.0, 10.02) == pytest.approx(1.0)
    assert position(2.0, 501.0, 11.4) == pytest.approx(2.38, abs=0.001), "it took 0.38 s longer"
    assert position(3.0, 502.0, 12.01) == pytest.approx(3.0, abs=0.001), "the fastest so far"
    assert position(4.0, None, 13.5) == 4.0
    views.remove("a")
    assert position(5.0, 1.0, 14.0) == 5.0, "a reloaded page has another clock"


def test_the_message_endpoint_is_closed_with_the_player(page: Page) -> None:
    page.player.close()
    assert page.report("pause") == 404


# Sending


@pytest.fixture
def live() -> Iterator[Player]:
    """A player whose messages and traits reach its comm."""
    made = play(sample())
    yield made
    made.close()


def test_a_blocked_send_blocks_no_reader_and_no_message(
    live: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release, done = threading.Event(), threading.Event(), threading.Event()
    sent: list[dict[str, Any]] = []

    def send(data: dict[str, Any], buffers: object = None) -> None:
        sent.append(data)
        entered.set()
        assert release.wait(DEADLINE_S)

    def use() -> None:
        page = Page(live)
        page.seq = 1
        assert page.report("seeked", current_time=3.0, duration=10.0) == 204
        assert page.post({"kind": "marker", "action": "add", "id": "a", "t_s": 1, "label": ""})
        assert (live.current_time, live.duration, len(live.markers)) == (3.0, 10.0, 1)
        live.wait_for("seeked", timeout_s=0)
        live.pause().markers.add(2)
        done.set()

    monkeypatch.setattr(live.comm, "send", send)
    threads = [threading.Thread(target=live.seek, args=(3,)), threading.Thread(target=use)]
    try:
        threads[0].start()
        assert entered.wait(DEADLINE_S)
        threads[1].start()
        assert done.wait(DEADLINE_S)
    finally:
        release.set()
        for thread in threads:
            thread.join(DEADLINE_S)
    commands = [data["content"] for data in sent if data["method"] == "custom"]
    assert [command["seq"] for command in commands] == [1, 2], "in the order of the calls"
    states = [data["state"] for data in sent if data["method"] == "update"]
    assert [state["pending_command"] for state in states if "pending_command" in state] == [
        {"v": 1, "seq": 1, "t_s": 3.0},
        {},
        {"v": 1, "seq": 2, "playing": False},
    ]
    assert [len(state["marker_list"]) for state in states if "marker_list" in state] == [1, 2]


def test_messages_and_traits_are_sent_by_one_thread_at_a_time(
    live: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, overlaps = threading.Lock(), []

    def send(data: dict[str, Any], buffers: object = None) -> None:
        if not alone.acquire(blocking=False):
            overlaps.append(data)
            return
        time.sleep(0.001)
        alone.release()

    def use(view: str) -> None:
        for t_s in range(10):
            state = {"event": "play", "seq": live.seek(t_s)._vidnb_seq, "current_time": t_s}
            live._vidnb_handle_message({"v": 1, "view": view, "kind": "state", **state})
            live.markers.add(t_s, view)

    monkeypatch.setattr(live.comm, "send", send)
    threads = [threading.Thread(target=use, args=(f"view-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert overlaps == []
    assert len(live.marker_list) == 40


def test_an_error_of_one_send_is_raised_and_loses_no_other() -> None:
    outbox, sent = Outbox(), []
    outbox.add(lambda: 1 / 0)
    outbox.add(lambda: sent.append(1))
    with pytest.raises(ZeroDivisionError):
        outbox.flush()
    outbox.flush()
    assert sent == [1]


# Waiting


def test_waiting_ends_with_the_event(page: Page) -> None:
    def apply(message: dict[str, Any]) -> None:
        page.report("seeking", seeking=True, paused=False)
        page.report("seeked", current_time=message["t_s"], paused=False)

    page.on_message = apply
    player = page.player
    assert player.seek(3).wait_for("seeked", timeout_s=DEADLINE_S) is player
    assert player.current_time == 3.0


def test_events_count_since_the_last_command(page: Page) -> None:
    player = page.player
    page.report("seeked")
    player.seek(1)
    with pytest.raises(PlayerTimeout, match="did not report 'seeked' within 0 s"):
        player.wait_for("seeked", timeout_s=0)
    page.report("seeked")
    player.wait_for("seeked", timeout_s=0)
    with pytest.raises(TimeoutError):
        player.wait_for("seeked", timeout_s=0)


def test_the_end_of_a_replaced_seek_does_not_count(page: Page) -> None:
    player = page.player
    player.seek(1)
    page.report("seeked", seeking=True)
    page.post({"kind": "state", "event": "seeked", "seq": 0})
    with pytest.raises(PlayerTimeout):
        player.wait_for("seeked", timeout_s=0)


def test_the_route_stays_known_after_a_command(page: Page) -> None:
    page.report("route", route="direct")
    page.player.play()
    page.player.wait_for("route", timeout_s=0).wait_for("route", timeout_s=None)


def test_awaiting_does_not_block_the_loop(page: Page) -> None:
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
        assert player._vidnb_waiters._tasks == []

    asyncio.run(work())


def test_the_error_says_why_the_wait_failed(page: Page) -> None:
    player = page.player
    with pytest.raises(PlayerTimeout, match="no page has shown it yet"):
        player.wait_for("seeked", timeout_s=0)
    page.report("play", current_time=61, paused=False)
    with pytest.raises(
        PlayerTimeout, match=r"\(playing at 1:01\): check that its page is still open"
    ):
        player.wait_for("seeked", timeout_s=0)
    page.report("error", error="It broke.")
    for timeout_s in (0, None):  # nothing more will happen
        with pytest.raises(PlayerTimeout, match=r"because it has failed: It broke\."):
            player.wait_for("seeked", timeout_s=timeout_s)
        with pytest.raises(PlayerTimeout, match=r"because it has failed: It broke\."):
            asyncio.run(player.wait_for_async("seeked", timeout_s=timeout_s))
    page.report("recovered")
    page.report("seeked")
    player.wait_for("seeked", timeout_s=0)


def test_unreachable_where_no_route_works(page: Page) -> None:
    """A page reports a reason for each route; one that plays or cannot decode has one left."""
    player = page.player
    failed = [[route["route"], "status 404"] for route in player.urls]
    page.report("error", error="It cannot be decoded.", routes_tried=failed[:-1])
    with pytest.raises(PlayerTimeout, match="because it has failed: It cannot be decoded"):
        player.wait_for("seeked", timeout_s=0)
    page.report("error", error="No route works.", routes_tried=failed)
    waits: list[Callable[[], object]] = [
        lambda: player.wait_for("seeked", timeout_s=None),
        lambda: asyncio.run(player.wait_for_async("seeked", timeout_s=None)),
        lambda: player.snapshot(timeout_s=0),
    ]
    for wait in waits:
        with pytest.raises(Unreachable, match=r"by any route .*VIDNB_URL_TEMPLATE") as error:
            wait()
        assert error.value.tried == tuple(f"{route['route']}: status 404" for route in player.urls)
    page.report("recovered", route="direct")
    page.report("seeked", route="direct")
    player.wait_for("seeked", timeout_s=0)


def test_blocking_where_the_comm_cannot_be_read_raises_at_once(page: Page) -> None:
    player = page.player
    state = {"v": 1, "view": "a", "kind": "state", "event": "route", "route": "kernel"}
    deliver(player, state)
    with pytest.raises(PlayerTimeout, match=r"cannot succeed .* `await player\.wait_for_async"):
        player.wait_for("seeked", timeout_s=10 * DEADLINE_S)
    with pytest.raises(PlayerTimeout, match=r"snapshot\(\) cannot succeed .*snapshot_async"):
        player.snapshot()
    # The comm is read on another thread (a subshell's).
    player._vidnb_comm_thread = -1
    with pytest.raises(PlayerTimeout, match="check that its page is still open"):
        player.wait_for("seeked", timeout_s=0)


def test_on_ipykernel_6_awaiting_where_the_comm_cannot_be_read_raises(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = page.player
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(6, 30, 1)))
    with pytest.raises(
        PlayerTimeout, match=r"no page .* ipykernel 6 receives reports only between two"
    ):
        asyncio.run(player.wait_for_async("seeked", timeout_s=0))
    state = {"v": 1, "view": "a", "kind": "state", "event": "route", "route": "kernel"}
    deliver(player, state)
    with pytest.raises(PlayerTimeout, match=r"wait_for_async\('seeked'\) cannot succeed .* next"):
        asyncio.run(player.wait_for_async("seeked", timeout_s=None))
    with pytest.raises(PlayerTimeout, match=r"snapshot_async\(\) cannot succeed"):
        asyncio.run(player.snapshot_async(timeout_s=None))
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(7, 2, 0)))
    with pytest.raises(PlayerTimeout, match="check that its page is still open"):
        asyncio.run(player.wait_for_async("seeked", timeout_s=0))


@pytest.mark.parametrize("bad", [-1, "5", True, float("nan")])
def test_invalid_arguments_are_value_errors(page: Page, bad: Any) -> None:
    for call in (page.player.wait_for, page.player.wait_for_async):
        with pytest.raises(
            ValueError, match="timeout_s must be a finite number of at least 0, not"
        ):
            asyncio.run(_awaited(call("seeked", timeout_s=bad)))
    with pytest.raises(ValueError, match="no event 'seekd'"):
        page.player.wait_for("seekd")


async def _awaited(result: Any) -> None:
    await result


# Snapshots


def test_a_snapshot_is_posted(page: Page) -> None:
    def draw(message: dict[str, Any]) -> None:
        assert message["kind"] == "snapshot"
        assert message["max_pixels"] == 3840 * 2160
        page.post_bytes(png(64, 36), f"snapshot-{message['number']}")

    page.on_message = draw
    picture = page.player.snapshot()
    assert (picture.size, picture.getpixel((5, 5))) == ((64, 36), (255, 0, 0))
    assert asyncio.run(page.player.snapshot_async()).size == (64, 36)


def test_without_pillow_a_snapshot_is_png_bytes(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.on_message = lambda message: deliver(
        page.player,
        {"v": 1, "view": "a", "kind": "snapshot", "number": message["number"]},
        [memoryview(red)],
    )
    red = png(8, 8)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert page.player.snapshot() == red


def test_a_snapshot_that_fails_says_why(page: Page) -> None:
    page.on_message = lambda message: deliver(
        page.player,
        {
            "v": 1,
            "view": "a",
            "kind": "snapshot",
            "number": message["number"],
            "reason": "no frame",
        },
    )
    with pytest.raises(VidnbError, match=r"sample\.mp4 has no snapshot to send: no frame\."):
        page.player.snapshot()
    page.on_message = lambda _: None
    with pytest.raises(PlayerTimeout, match="did not send a snapshot within 0 s"):
        page.player.snapshot(timeout_s=0)
    with pytest.raises(PlayerTimeout, match="did not send a snapshot"):
        asyncio.run(page.player.snapshot_async(timeout_s=0))


def test_a_snapshot_that_is_no_png_is_refused(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = bytearray(png(8, 8))
    huge[16:24] = struct.pack(">II", 100_000, 100_000)
    statuses: list[int] = []

    def draw(message: dict[str, Any]) -> None:
        name = f"snapshot-{message['number']}"
        invalid = (b"", b"GIF89a", bytes(huge), b"x" * 2000)
        statuses.extend(page.post_bytes(data, name) for data in invalid)
        deliver(
            page.player,
            {"v": 1, "view": "a", "kind": "snapshot", "number": message["number"]},
            [b"GIF89a"],
        )
        statuses.append(page.post_bytes(png(8, 8), name))

    page.on_message = draw
    monkeypatch.setattr(snapshot, "MAX_PNG_BYTES", 1500)
    assert page.player.snapshot().size == (8, 8)
    assert page.post_bytes(png(8, 8), "snapshot-1") == 404
    for thread in page.threads:
        thread.join(DEADLINE_S)
    assert statuses == [400, 400, 400, 413, 204]
