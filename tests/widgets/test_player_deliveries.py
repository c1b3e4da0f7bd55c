"""The deliveries of a player without a browser: when they are read, sent, and used."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import vidnb
from tests.clips import clip
from tests.deadline import DEADLINE_S, wait_until
from tests.origin import Film, Origin, noise
from tests.widgets.comm import deliver
from vidnb.errors import MediaError, ServeError
from vidnb.media.delivery import Delivery, Playback
from vidnb.server.registry import FileResource
from vidnb.server.sample import sample
from vidnb.server.server import Served
from vidnb.widgets.player import deliveries
from vidnb.widgets.player.deliveries import PlaybackReader
from vidnb.widgets.player.widget import Player, play

DIRECT = Delivery("direct", "", 'video/mp2t; codecs="avc1.64001F"', "")
REMUX = Delivery("remux", "copy.copy", 'video/mp4; codecs="avc1.64001F"', "no browser plays TS")
START_S = 1.4


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The files whose playback was read: a remux of a file that begins at 1.4 s."""
    files: list[tuple[str, str]] = []

    def read_deliveries(served: Served, convert: str) -> Playback:
        files.append((served.name, convert))
        return Playback((DIRECT, REMUX), "", START_S)

    monkeypatch.setattr(deliveries, "read_deliveries", read_deliveries)
    return files


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], Any]]:
    messages: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(
        Player,
        "send",
        lambda _self, content, buffers=None: messages.append((content, buffers)),
    )
    return messages


@pytest.fixture
def player(read: object, sent: object) -> Iterator[Player]:
    made = play(clip("h264.mp4"), convert="auto")
    yield made
    made.close()


def report(player: Player, **state: object) -> None:
    content = {"v": 1, "view": "view-1", "kind": "state", "event": "pause", "paused": True, **state}
    deliver(player, content)


# What plays


def test_a_local_file_has_its_deliveries_from_the_start(
    player: Player, read: list[tuple[str, str]]
) -> None:
    assert read == [("h264.mp4", "auto")]
    assert player.deliveries == [
        {"kind": "direct", "variant": "", "type": DIRECT.type, "reason": ""},
        {"kind": "remux", "variant": "copy.copy", "type": REMUX.type, "reason": REMUX.reason},
    ]
    assert player.get_state("deliveries") == {"deliveries": player.deliveries}


def test_the_browser_reports_what_it_plays(player: Player) -> None:
    assert player.delivery is None
    for kind in ("direct", "remux", "transcode"):
        report(player, delivery=kind)
        assert player.delivery == kind
    report(player, delivery=7)
    assert player.delivery is None


@pytest.mark.parametrize("convert", ["never", "always"])
def test_convert_is_passed_on(read: list[tuple[str, str]], convert: str) -> None:
    play(sample(), convert=convert).close()
    vidnb.compare(sample(), sample(), convert=convert).close()
    assert [used for _, used in read] == 3 * [convert]


@pytest.mark.parametrize("convert", ["yes", "", "Auto", None, True, ["auto"]])
def test_an_invalid_convert_is_a_value_error(convert: Any, read: list[Any]) -> None:
    for call in (
        lambda: play("no such file.mp4", convert=convert),
        lambda: vidnb.compare("no such file.mp4", convert=convert),
    ):
        with pytest.raises(ValueError, match='convert is "auto", "never" or "always", not '):
            call()
    assert read == []


def test_a_problem_is_sent_for_a_view_that_plays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    playback = Playback((), "It has no decoder: \udcff.", 0.0)
    monkeypatch.setattr(deliveries, "read_deliveries", lambda *_: playback)
    player = play(sample())
    assert player.deliveries == []
    assert player.playback_problem == "It has no decoder: ?."
    assert player.file_problem == ""
    player.close()


# Frame times


def test_frame_numbers_of_a_fed_view_count_from_the_start_of_the_file(
    player: Player, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    for delivery, shown_s in (("remux", 0.0), ("transcode", 0.2), ("direct", 1.6)):
        report(player, delivery=delivery, shown_s=shown_s, duration=2.4)
        in_file_s = shown_s + (0 if delivery == "direct" else START_S)
        assert player.frame_index == round(25 * in_file_s)
    report(player, delivery="remux")
    player.seek_frame(50)
    assert sent[-1][0]["t_s"] == pytest.approx(2.02 - START_S)
    player.seek_frame(0)
    assert sent[-1][0]["t_s"] == 0.0, "never before the start"
    report(player, delivery="direct")
    player.seek_frame(50)
    assert sent[-1][0]["t_s"] == pytest.approx(2.02)
    player._vidnb_send_frame_times("view-1")
    (content,) = (content for content, _ in sent if content["kind"] == "frame_times")
    assert content["start_s"] == START_S


@pytest.mark.parametrize(("first", "t_s"), [(DIRECT, 2.02), (REMUX, 2.02 - START_S)])
def test_before_a_view_reports_the_best_delivery_counts(
    monkeypatch: pytest.MonkeyPatch,
    sent: list[tuple[dict[str, Any], Any]],
    first: Delivery,
    t_s: float,
) -> None:
    playback = Playback((first,), "", START_S)
    monkeypatch.setattr(deliveries, "read_deliveries", lambda *_: playback)
    player = play(clip("h264.mp4"))
    player.seek_frame(50)
    assert sent[-1][0]["t_s"] == pytest.approx(t_s)
    player.close()


# While it is downloaded


def test_a_download_sends_its_deliveries_when_they_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a thread: neither the call nor the views' messages wait for it."""
    known, threads = threading.Event(), []

    def read_deliveries(served: Served, convert: str) -> Playback:
        threads.append(threading.current_thread().name)
        assert known.wait(DEADLINE_S)
        return Playback((REMUX,), "", 0.0)

    monkeypatch.setattr(deliveries, "read_deliveries", read_deliveries)
    with Origin(Film(noise(100_000))) as origin:
        player = play(origin.url, save_to=tmp_path / "a.mp4")
        try:
            assert player.get_state("deliveries") == {"deliveries": None}
            report(player, current_time=2.0)
            assert player.current_time == 2.0
            known.set()
            wait_until(lambda: player.deliveries is not None)
            assert player.deliveries == [asdict(REMUX)]
            assert threads == ["vidnb-playback"]
        finally:
            player.close()


def test_the_deliveries_are_read_again_when_the_source_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    """The views get none before they load the file again: those of the old file are wrong."""
    found = iter([Playback((DIRECT,), "", 0.0), Playback((REMUX,), "", START_S)])
    monkeypatch.setattr(deliveries, "read_deliveries", lambda *_: next(found))
    order: list[object] = []
    with Origin(Film(noise(2_000_000)), rate=1e6) as origin:
        player = play(origin.url, save_to=tmp_path / "a.mp4")
        try:
            wait_until(lambda: player.deliveries is not None)
            player.observe(lambda change: order.append(change["new"]), "deliveries")
            origin.wait_for(lambda: origin.sent_bytes > 200_000)
            origin.film, origin.rate = Film(noise(2_000_000, seed=2), etag='"v2"'), None
            origin.close_connections()
            assert player.download is not None
            player.download.result(DEADLINE_S)
            wait_until(lambda: len(order) == 2)
            assert order[0] is None
            assert player.deliveries == [asdict(REMUX)]
            assert player._vidnb_shift_s == START_S
        finally:
            player.close()


def test_a_change_while_it_is_read_reads_it_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, proceed = threading.Semaphore(0), threading.Semaphore(0)
    found = iter([Playback((DIRECT,), "", 0.0), Playback((REMUX,), "", 0.0)])

    def read_deliveries(*_: object) -> Playback:
        entered.release()
        assert proceed.acquire(timeout=DEADLINE_S)
        return next(found)

    monkeypatch.setattr(deliveries, "read_deliveries", read_deliveries)
    published: list[Playback] = []
    with vidnb.serve(sample()) as served:
        reader = PlaybackReader(served, "auto")
        reader.start(published.append)
        assert entered.acquire(timeout=DEADLINE_S)
        reader.start(published.append)
        proceed.release(2)
        wait_until(lambda: bool(published))
        assert [playback.deliveries for playback in published] == [(REMUX,)]
        assert reader.known is published[0]
        found = iter([Playback((DIRECT,), "", 0.0)])
        reader.start(published.append)
        assert entered.acquire(timeout=DEADLINE_S)
        assert entered.acquire(timeout=DEADLINE_S)
        reader.close()
        proceed.release()
        reader.start(published.append)
    assert len(published) == 1


@pytest.mark.parametrize(
    "error", [ServeError("a.mkv changed."), TimeoutError("It took too long."), OSError("No disk.")]
)
def test_a_download_that_cannot_be_read_plays_as_the_file_itself(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> Playback:
        raise error

    monkeypatch.setattr(deliveries, "read_deliveries", fail)
    published: list[Playback] = []
    with vidnb.serve(sample()) as served:
        PlaybackReader(served, "auto").start(published.append)
        wait_until(lambda: bool(published))
    (playback,) = published
    assert [one.kind for one in playback.deliveries] == ["direct"]
    assert playback.problem == str(error)


# Segments over the comm


class FakeStream:
    """A stream of one segment, whose other parts fail or never come."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.proceed = threading.Event()

    def read(self, name: str) -> bytes | None:
        match name:
            case "index.m3u8":
                return b"#EXTM3U\n"
            case "0.m4s":
                return b"segment"
            case "1.m4s":
                self.entered.set()
                assert self.proceed.wait(DEADLINE_S)
                return b"late"
            case "2.m4s":
                raise MediaError("Frame 7 is damaged.")
            case "3.m4s":
                raise OSError(5, "Input/output error")
        return None

    def close(self) -> None:
        self.proceed.set()


class WithdrawableFake(FakeStream):
    """A stream that notices when nobody waits for a segment any more."""

    def __init__(self) -> None:
        super().__init__()
        self.withdrawn = threading.Event()

    async def fetch(self, name: str) -> bytes | None:
        if name != "1.m4s":
            return self.read(name)
        self.entered.set()
        try:
            await asyncio.sleep(DEADLINE_S)
        except asyncio.CancelledError:
            self.withdrawn.set()
            raise
        return b"late"


@pytest.fixture
def ask(
    player: Player,
    sent: list[tuple[dict[str, Any], Any]],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., None]]:
    """Request a part over the comm."""
    stream = getattr(request, "param", FakeStream)()
    monkeypatch.setattr(
        FileResource,
        "stream",
        lambda _self, variant: stream if variant == "copy.copy" else None,
    )

    def ask(name: str, number: int = 7, view: str = "a", **content: object) -> None:
        part = {"resource": "video", "variant": "copy.copy", "name": name, "number": number}
        deliver(player, {"v": 1, "view": view, "kind": "segment", **part, **content})

    ask.stream = stream  # type: ignore[attr-defined]
    yield ask
    stream.close()


def responses(sent: list[tuple[dict[str, Any], Any]]) -> list[tuple[dict[str, Any], Any]]:
    return [
        ({k: v for k, v in content.items() if k not in {"v", "kind", "view"}}, buffers)
        for content, buffers in sent
        if content["kind"] == "bytes"
    ]


BOTH = pytest.mark.parametrize("ask", [FakeStream, WithdrawableFake], indirect=True)


@BOTH
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("index.m3u8", ({"number": 7}, [b"#EXTM3U\n"])),
        ("0.m4s", ({"number": 7}, [b"segment"])),
        ("2.m4s", ({"number": 7, "problem": "Frame 7 is damaged."}, [])),
        ("3.m4s", ({"number": 7, "reason": "it cannot be read (Input/output error)"}, [])),
        ("9.m4s", ({"number": 7, "reason": "there is no such segment"}, [])),
    ],
)
def test_a_page_gets_a_part_over_the_comm(
    ask: Any, sent: list[tuple[dict[str, Any], Any]], name: str, expected: object
) -> None:
    ask(name)
    wait_until(lambda: bool(responses(sent)))
    assert responses(sent) == [expected]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"resource": "video-2"}, "resource"),
        ({"resource": None}, "resource"),
        ({"variant": "copy.none"}, "segment"),
        ({"variant": None}, "segment"),
    ],
)
def test_an_unknown_resource_or_variant_has_a_reason(
    ask: Any, sent: list[tuple[dict[str, Any], Any]], content: dict[str, object], what: str
) -> None:
    ask("0.m4s", **content)
    wait_until(lambda: bool(responses(sent)))
    assert responses(sent) == [({"number": 7, "reason": f"there is no such {what}"}, [])]


@BOTH
def test_a_segment_that_takes_long_blocks_neither_the_kernel_nor_another_view(
    ask: Any, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    ask("1.m4s", 1, view="a")
    assert ask.stream.entered.wait(DEADLINE_S)
    ask("0.m4s", 2, view="b")
    wait_until(lambda: bool(responses(sent)))
    assert responses(sent) == [({"number": 2}, [b"segment"])]


@BOTH
def test_the_next_request_of_a_view_withdraws_the_one_before(
    ask: Any, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    ask("1.m4s", 1)
    assert ask.stream.entered.wait(DEADLINE_S)
    ask("0.m4s", 2)
    wait_until(lambda: bool(responses(sent)))
    ask.stream.close()
    if isinstance(ask.stream, WithdrawableFake):
        assert ask.stream.withdrawn.wait(DEADLINE_S)
    ask("index.m3u8", 3)
    wait_until(lambda: len(responses(sent)) == 2)
    assert [content["number"] for content, _ in responses(sent)] == [2, 3]


@pytest.mark.parametrize("ask", [WithdrawableFake], indirect=True)
def test_a_closed_player_withdraws_its_requests(ask: Any, player: Player) -> None:
    ask("1.m4s")
    assert ask.stream.entered.wait(DEADLINE_S)
    player.close()
    assert ask.stream.withdrawn.wait(DEADLINE_S)


def test_a_posted_request_gets_no_segment(
    player: Player, sent: list[tuple[dict[str, Any], Any]]
) -> None:
    """Only the comm carries bytes, to which no other site has access."""
    part = {"resource": "video", "variant": "copy.copy", "name": "0.m4s", "number": 7}
    player._vidnb_handle_message({"v": 1, "view": "a", "kind": "segment", **part})
    assert responses(sent) == []
