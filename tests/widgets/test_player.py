"""The player without a browser: `send` is overridden, and a fake view stands for the page."""

import math
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from tests.widgets.comm import deliver
from vidnb.download.request import DownloadResult
from vidnb.errors import ServeError
from vidnb.server.sample import sample
from vidnb.server.server import serve
from vidnb.widgets import card
from vidnb.widgets.card import player_card
from vidnb.widgets.player import files
from vidnb.widgets.player.arguments import seconds
from vidnb.widgets.player.views import Report, Views
from vidnb.widgets.player.widget import Player, play

SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello\n"
PNG = bytes.fromhex("89504e470d0a1a0a")


class FakeView:
    """The responses of a view to messages, without the video."""

    def __init__(self, player: Player, name: str = "view-1") -> None:
        self.player, self.name = player, name
        self.seq = 0
        self.state: dict[str, Any] = {"current_time": player.start_s, "paused": True}
        self.post("ready")
        self.apply(player.pending_command)

    def post(self, kind: str, **content: object) -> None:
        message = {"v": 1, "view": self.name, "kind": kind, **content}
        deliver(self.player, message)

    def report(self, event: str = "pause", **state: object) -> None:
        self.state |= state
        self.post("state", event=event, seq=self.seq, **self.state)

    def apply(self, command: dict[str, Any]) -> None:
        if command.get("seq", 0) > self.seq:
            self.seq = command["seq"]
            if "t_s" in command:
                self.state["current_time"] = command["t_s"]
            if "playing" in command:
                self.state["paused"] = not command["playing"]
            self.report("command")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every message that Python sends to the page."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        Player, "send", lambda _self, content, _buffers=None: messages.append(content)
    )
    return messages


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every output that is displayed or updated: what, the bundle, the options."""
    outputs: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for name in ("display", "update_display"):

        def record(data: dict[str, Any], name: str = name, **options: Any) -> None:
            outputs.append((name, dict(data), options))

        monkeypatch.setattr(card, f"_{name}", record)
    return outputs


@pytest.fixture
def player(sent: list[dict[str, Any]]) -> Iterator[Player]:
    made = play(sample())
    yield made
    made.close()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
        data: bytes = response.read()
    return data


def direct(player: Player) -> dict[str, Any]:
    """Return the route that works for this process too."""
    (route,) = (route for route in player.urls if route["route"] == "direct")
    return route


def is_served(url: str) -> bool:
    try:
        fetch(url)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    return True


# Sources


def test_a_path_is_served_and_closed_with_its_player() -> None:
    player = play(str(sample()))
    route = direct(player)
    assert fetch(route["url"]) == sample().read_bytes()
    player.close()
    assert not is_served(route["url"])
    player.close()


def test_a_download_result_is_played_by_its_path() -> None:
    result = DownloadResult(
        path=sample(), url="https://example.org/x", size_bytes=1, sha256="", elapsed_s=0.0
    )
    player = play(result)
    assert player.name == "sample.mp4"
    player.close()


def test_a_served_file_is_not_closed_with_the_player() -> None:
    with serve(sample()) as served:
        player = play(served)
        assert direct(player)["url"] == served.url
        player.close()
        assert is_served(served.url)


def test_a_missing_file_is_a_serve_error(tmp_path: Path) -> None:
    with pytest.raises(ServeError):
        play(tmp_path / "missing.mp4")


def test_paths_may_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample(), tmp_path / "film.mp4")
    (tmp_path / "talk.srt").write_text(SRT)
    (tmp_path / "poster.png").write_bytes(PNG)
    player = play("~/film.mp4", subtitles=Path("~/talk.srt"), poster="~/poster.png")
    assert player.name == "film.mp4"
    assert "data:image/png" in player._repr_mimebundle_()[0]["text/html"]
    with serve("~/film.mp4") as served:
        saved = play(served.url, save_to="~/saved/")
        assert saved.download is not None
        assert saved.download.result(60).path == tmp_path / "saved" / "film.mp4"
        saved.close()
    player.close()
    assert not (tmp_path / "~").exists()


def test_options_become_configuration() -> None:
    player = play(sample(), start_s=2, end_s=3, autoplay=True, muted=True, loop=True, width=320)
    assert (player.start_s, player.autoplay, player.muted) == (2.0, True, True)
    assert (player.end_s, type(player.end_s)) == (3.0, float)
    assert (player.loop, player.width, player.name) == (True, 320, "sample.mp4")
    assert player.current_time == 2.0
    player.close()


def test_the_defaults() -> None:
    player = play(sample())
    assert (player.start_s, player.autoplay, player.muted, player.loop) == (
        0.0,
        False,
        False,
        False,
    )
    assert (player.width, player.tracks, player.poster, player.pending_command) == (960, [], [], {})
    assert player.end_s is None
    player.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start_s": -1}, "start_s must be a finite number of at least 0, not"),
        ({"start_s": math.nan}, "start_s must be a finite number of at least 0, not"),
        ({"start_s": "3"}, "start_s must be a finite number of at least 0, not"),
        ({"start_s": True}, "start_s must be a finite number"),
        ({"end_s": 0}, r"end_s must be later than start_s \(0 s\), not 0"),
        ({"start_s": 2.5, "end_s": 2.5}, r"end_s must be later than start_s \(2.5 s\), not 2.5"),
        ({"start_s": 3, "end_s": 1}, "end_s must be later than start_s"),
        ({"end_s": math.inf}, "end_s must be a finite number"),
        ({"end_s": "3"}, "end_s must be a finite number"),
        ({"end_s": True}, "end_s must be a finite number"),
        ({"width": 0}, "width must be a whole number of at least 1, not 0"),
        ({"width": "640"}, "width must be a whole number of at least 1, not '640'"),
        ({"width": True}, "width must be a whole number"),
        ({"width": 1.5}, "width must be a whole number"),
        ({"route": "sideways"}, 'route is one of "auto", .*, or the URL of a proxy'),
        ({"route": "https://host/{port}"}, "route is"),
        ({"route": "https://host/{path}"}, "route is"),
        ({"route": "javascript:{port}{path}"}, "route is"),
        ({"poster": "data:image/png;base64," + "A" * 8192}, "the poster's URL has 8214 characters"),
        ({"subtitles": "WEBVTTX\nno cue"}, "no subtitles were found"),
    ],
)
def test_an_invalid_option_is_a_value_error(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        play(sample(), **options)


@pytest.mark.parametrize(("route", "needs"), [("auto", "loopback"), ("direct", "")])
def test_only_auto_requires_a_loopback_page(route: str, needs: str) -> None:
    player = play(sample(), route=route)
    assert direct(player)["needs"] == needs
    assert len(player.urls) == (1 if route == "direct" else 3)
    player.close()


def test_a_template_makes_the_urls_of_a_proxy(tmp_path: Path) -> None:
    clip = tmp_path / "a {port} & b.mp4"
    shutil.copy(sample(), clip)
    with serve(clip) as served:
        player = play(served, route="/user/me/proxy/{port}/{path}")
        (route,) = player.urls
        root = f"http://127.0.0.1:{served.port}/"
        assert route["url"] == f"/user/me/proxy/{served.port}/" + served.url.removeprefix(root)
        assert "{" not in route["url"]
        assert (route["route"], route["needs"]) == ("template", "")
        assert route["endpoint"].startswith(f"/user/me/proxy/{served.port}/~/")
        player.close()


def test_an_undecodable_name_can_still_be_sent() -> None:
    assert files.printable("fi\udcfflm ü.mp4") == "fi?lm ü.mp4"


# Poster and subtitles


def test_an_image_is_served_as_the_poster(tmp_path: Path) -> None:
    image = tmp_path / "p.png"
    image.write_bytes(PNG)
    player = play(sample(), poster=image)
    (route,) = (route for route in player.poster if route["route"] == "direct")
    assert fetch(route["url"]) == PNG
    player.close()
    assert not is_served(route["url"])


@pytest.mark.parametrize(
    "url", ["https://example.org/p.jpg", "http://h/p", "data:image/png;base64,AA"]
)
def test_a_short_url_is_the_poster_itself(url: str) -> None:
    player = play(sample(), poster=url)
    assert player.poster == [{"route": "given", "url": url, "endpoint": "", "needs": ""}]
    player.close()


def test_after_a_poster_that_is_no_image_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    served = []

    def recorded(path: Any) -> Any:
        served.append(serve(path))
        return served[-1]

    monkeypatch.setattr(files, "serve", recorded)
    with pytest.raises(ServeError, match="is no image: pass a JPEG, PNG"):
        play(sample(), poster=sample())
    assert len(served) == 2
    assert not any(is_served(one.url) for one in served)


def test_subtitles_are_served_as_webvtt_until_the_player_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "talk.srt"
    file.write_text(SRT.replace("Hello", "Grüße"), encoding="cp1252")
    player = play(sample(), subtitles={"en": SRT, "Deutsch (SDH)": file})
    english, german = player.tracks
    assert (english["label"], english["lang"]) == ("", "en")
    assert (german["label"], german["lang"]) == ("Deutsch (SDH)", "")
    assert fetch(english["urls"][1]["url"]) == (b"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello\n")
    assert "Grüße" in fetch(german["urls"][1]["url"]).decode()
    folder = files._temporary_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.iterdir())) >= 2
    before = len(list(folder.iterdir()))
    player.close()
    assert len(list(folder.iterdir())) == before - 2
    assert not is_served(english["urls"][1]["url"])


@pytest.mark.parametrize("text", ["WEBVTT", SRT, "00:01 --> 00:02"])
def test_one_track_may_be_text_itself(text: str) -> None:
    if text == "WEBVTT":
        player = play(sample(), subtitles=text)
        (track,) = player.tracks
        assert (track["label"], track["lang"]) == ("Subtitles", "")
        assert fetch(track["urls"][1]["url"]) == b"WEBVTT\n"
    else:
        player = play(sample(), subtitles=text)
        assert fetch(player.tracks[0]["urls"][1]["url"]).startswith(b"WEBVTT\n")
    player.close()


def test_subtitles_have_the_routes_of_the_video() -> None:
    player = play(sample(), subtitles=SRT, route="/proxy/{port}/{path}")
    assert player.tracks[0]["urls"][0]["url"].startswith("/proxy/")
    player.close()


def test_subtitles_that_cannot_be_read_are_a_serve_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ServeError, match=r"missing\.vtt cannot be read: No such file"):
        play(sample(), subtitles=tmp_path / "missing.vtt")
    with pytest.raises(ServeError, match=r"cannot be read: .*null"):
        play(sample(), subtitles="a\0b.vtt")
    text = tmp_path / "notes.srt"
    text.write_text("just words", encoding="utf-8")
    with pytest.raises(ServeError, match=r"notes\.srt cannot be shown: no subtitles were found"):
        play(sample(), subtitles=text)
    monkeypatch.setattr(files, "_MAX_SUBTITLE_BYTES", 1000)
    text.write_text(SRT.ljust(1000), encoding="utf-8")
    play(sample(), subtitles=text).close()
    text.write_text(SRT.ljust(1001), encoding="utf-8")
    with pytest.raises(ServeError, match=r"larger than 1\.0 kB: is this the video\?"):
        play(sample(), subtitles=text)


# Commands


def test_before_any_report_the_player_is_at_its_start(player: Player) -> None:
    assert (player.current_time, player.duration, player.paused) == (0.0, None, True)
    assert (player.ended, player.seeking, player.error, player.route) == (False, False, None, None)


def test_commands_chain_and_are_sent_at_once(player: Player, sent: list[dict[str, Any]]) -> None:
    assert player.seek(3).play().pause() is player
    assert sent == [
        {"v": 1, "kind": "command", "seq": 1, "t_s": 3.0},
        {"v": 1, "kind": "command", "seq": 2, "playing": True},
        {"v": 1, "kind": "command", "seq": 3, "playing": False},
    ]


def test_a_view_shown_later_applies_the_pending_commands(player: Player) -> None:
    player.seek(3).play()
    assert player.pending_command == {"v": 1, "seq": 2, "t_s": 3.0, "playing": True}
    FakeView(player)
    assert (player.current_time, player.paused) == (3.0, False)
    assert player.pending_command == {}


def test_commands_are_pending_until_the_last_one_is_applied(player: Player) -> None:
    view = FakeView(player)
    player.seek(1)
    first = player.pending_command
    player.seek(2)
    view.apply(first)
    assert player.pending_command["t_s"] == 2.0
    view.apply(player.pending_command)
    assert player.pending_command == {}
    player.play()
    assert player.pending_command == {"v": 1, "seq": 3, "playing": True}


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, math.inf, "3", None, True])
def test_an_invalid_seek_is_a_value_error(player: Player, bad: Any) -> None:
    with pytest.raises(ValueError, match="t_s must be a finite number of at least 0, not"):
        player.seek(bad)
    assert player.pending_command == {}


def test_commands_of_many_threads_keep_their_order(
    player: Player, sent: list[dict[str, Any]]
) -> None:
    threads = [threading.Thread(target=player.seek, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    commands = [message for message in sent if message["kind"] == "command"]
    assert [message["seq"] for message in commands] == list(range(1, 21))
    assert player.pending_command["t_s"] == commands[-1]["t_s"]


# State


def test_properties_are_what_the_view_reported(player: Player) -> None:
    view = FakeView(player)
    view.report(
        "error", current_time=4.5, duration=10.0, paused=False, ended=True, seeking=True,
        error="It broke.", route="direct",
    )  # fmt: skip
    assert (player.current_time, player.duration, player.paused) == (4.5, 10.0, False)
    assert (player.ended, player.seeking) == (True, True)
    assert (player.error, player.route) == ("It broke.", "direct")


def test_only_ticks_are_acknowledged(player: Player, sent: list[dict[str, Any]]) -> None:
    view = FakeView(player)
    view.report("seeked")
    view.report("timeupdate")
    view.post("state", event="seeked", tick=4)
    assert sent == []
    view.post("state", event="timeupdate", tick=5)
    assert sent == [{"v": 1, "kind": "state_ack", "view": "view-1", "tick": 5}]


def test_a_hello_is_acknowledged_over_the_comm_alone(
    player: Player, sent: list[dict[str, Any]]
) -> None:
    view = FakeView(player)
    view.post("hello")
    assert sent == [{"v": 1, "kind": "ack", "view": "view-1"}]
    player._vidnb_handle_message({"v": 1, "view": "view-1", "kind": "hello"})
    assert len(sent) == 1


@pytest.mark.parametrize(
    "message",
    [
        None,
        "state",
        {},
        {"kind": "state", "view": "a", "current_time": 9},
        {"v": 2, "kind": "state", "view": "a", "current_time": 9},
        {"v": 1, "kind": "state", "current_time": 9},
        {"v": 1, "kind": "state", "view": 7, "current_time": 9},
        {"v": 1, "kind": "unknown", "view": "a", "current_time": 9},
        {"v": 1, "kind": "bye", "view": "unknown"},
    ],
)
def test_unknown_messages_are_ignored(player: Player, message: Any) -> None:
    deliver(player, message)
    assert player.current_time == 0.0
    assert player._vidnb_views.report is None


def test_invalid_fields_of_a_report_have_defaults() -> None:
    invalid = {
        "current_time": "5", "duration": math.inf, "paused": 0, "ended": 1, "seeking": "yes",
        "error": 7, "route": "",
    }  # fmt: skip
    assert Report.parse(invalid, 3.0) == Report(sent_s=3.0)
    assert Report.parse({}, 0.0) == Report()


@pytest.mark.parametrize(
    ("value", "parsed"),
    [(0, 0.0), (2.5, 2.5), (Fraction(1, 2), 0.5), (True, None), (-1, None), (10**400, None)],
)
def test_seconds_are_real_numbers_not_below_zero(value: object, parsed: float | None) -> None:
    assert seconds(value) == parsed


def test_a_reloaded_page_restores_the_position(player: Player, sent: list[dict[str, Any]]) -> None:
    view = FakeView(player)
    view.report("pause", current_time=7.5)
    view.post("bye")
    assert (player.current_time, player.paused) == (7.5, True)
    FakeView(player, "view-2")
    restored = [one for one in sent if one["kind"] != "frame_times"]  # sent when they are known
    assert restored == [{"v": 1, "kind": "restore", "view": "view-2", "t_s": 7.5}]


def updated(
    views: Views, view: str, t_s: float, *, paused: bool, now_s: float = 0.0, event: str = ""
) -> Any:
    views.update(view, {"current_time": t_s, "paused": paused, "event": event}, now_s)
    return views.report and views.report.current_time


def test_the_playing_view_leads() -> None:
    views = Views()
    assert updated(views, "a", 1.0, paused=False) == 1.0
    assert updated(views, "b", 50.0, paused=True) == 1.0, "one that is merely opened does not lead"
    assert updated(views, "b", 51.0, paused=False, event="play") == 51.0, "one that starts does"
    assert updated(views, "a", 2.0, paused=False) == 51.0
    assert updated(views, "b", 52.0, paused=True) == 52.0
    assert updated(views, "a", 3.0, paused=False) == 3.0, "the leader was paused"
    assert len(views) == 2


def test_a_view_that_becomes_the_leader_of_its_page_leads() -> None:
    views = Views()
    assert views.update("a", {"paused": False, "current_time": 1.0}, 0.0)
    assert not views.update("b", {"paused": False, "current_time": 2.0}, 0.1)
    assert views.update("b", {"paused": False, "current_time": 2.0, "is_leader": True}, 0.2)
    assert views.report is not None
    assert views.report.current_time == 2.0
    assert not views.update("a", {"paused": False, "current_time": 1.5, "is_leader": "yes"}, 0.3)


def test_a_playing_view_without_reports_loses_the_lead() -> None:
    views = Views()
    updated(views, "a", 1.0, paused=False, now_s=10.0)
    assert updated(views, "b", 50.0, paused=True, now_s=12.0) == 1.0
    assert updated(views, "b", 50.0, paused=True, now_s=12.001) == 50.0


def test_after_the_leader_another_view_leads_or_the_player_is_paused() -> None:
    views = Views()
    updated(views, "a", 1.0, paused=False)
    updated(views, "b", 50.0, paused=True)
    views.remove("b")
    assert views.report == Report(current_time=1.0, paused=False)
    updated(views, "b", 50.0, paused=True)
    views.remove("a")
    assert views.report == Report(current_time=50.0, paused=True)
    views.update(
        "b", {"current_time": 51.0, "paused": False, "seeking": True, "route": "direct"}, 0.0
    )
    views.remove("b")
    assert views.report == Report(current_time=51.0, paused=True, seeking=False, route="direct")
    assert updated(views, "c", 2.0, paused=True) == 2.0


# The display


def test_the_repr(player: Player) -> None:
    assert repr(player) == "Player('sample.mp4', paused at 0.000 s of unknown length)"
    FakeView(player).report("play", current_time=1.5, duration=10.0, paused=False)
    assert repr(player) == "Player('sample.mp4', playing at 1.500 s of 0:10)"


def test_the_bundle_holds_the_widget_and_the_card(player: Player) -> None:
    data, metadata = player._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == player.model_id
    assert data["text/plain"] == "sample.mp4 (video · 241.2 kB): run this cell again to watch it"
    assert "sample.mp4" in data["text/html"]
    assert "http" not in data["text/html"], "a URL does not work in a saved notebook"
    assert metadata == {}


def test_card_and_widget_are_displayed_as_two_outputs(player: Player, shown: list[Any]) -> None:
    player._ipython_display_()
    (card, widget) = shown
    assert card[2] == {"raw": True, "display_id": player.card_id}
    assert player.card_id in card[1]["text/html"]
    assert set(card[1]) == {"text/html", "text/plain"}
    assert widget[1]["application/vnd.jupyter.widget-view+json"]["model_id"] == player.model_id
    assert "text/plain" not in widget[1]
    assert widget[1]["text/html"].startswith("<!--")
    assert sum(len(str(output)) for output in shown) < 4000


def test_a_closed_player_displays_its_card_alone(shown: list[Any]) -> None:
    player = play(sample())
    player.close()
    player._ipython_display_()
    assert [set(data) for _, data, _ in shown] == [{"text/html", "text/plain"}]


def test_the_card_is_updated_once_with_the_duration(player: Player, shown: list[Any]) -> None:
    view = FakeView(player)
    view.report("loadedmetadata", duration=10.0)
    assert shown == [], "no card is displayed yet"
    player._ipython_display_()
    assert "0:10" in shown[0][1]["text/plain"]
    view.report("play")
    view.report("pause")
    assert [name for name, _, _ in shown] == ["display", "display", "update_display"]
    assert shown[2][1] == shown[0][1]
    assert shown[2][2] == {"raw": True, "display_id": player.card_id}


def test_ipython_displays_the_last_expression_once(player: Player, shown: list[Any]) -> None:
    """The formatter adds nothing to what `_ipython_display_` displays."""
    from IPython.core.formatters import DisplayFormatter

    formatter: Any = DisplayFormatter()
    data, _ = formatter.format(player)
    assert data == {}
    assert len(shown) == 2


def test_a_card_escapes_names_and_omits_unknown_facts() -> None:
    card = player_card("<b>&.mp4", length_s=None, size_bytes=None, card_id="m")
    assert "&lt;b&gt;&amp;.mp4" in card["text/html"]
    assert card["text/plain"] == "<b>&.mp4 (video): run this cell again to watch it"
    full = player_card("a.mp4", length_s=3661.0, size_bytes=22_700_000, card_id="m")
    assert (
        full["text/plain"] == "a.mp4 (video · 1:01:01 · 22.7 MB): run this cell again to watch it"
    )
