"""The player without a browser: `send` is overridden, and a fake view plays the page."""

import math
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.deadline import DEADLINE_S
from vidnb.download.request import DownloadResult
from vidnb.errors import ServeError
from vidnb.server.bundle import bundle
from vidnb.server.sample import sample
from vidnb.server.serving import serve
from vidnb.widgets.card import player_card
from vidnb.widgets.player import files
from vidnb.widgets.player import widget as player_module
from vidnb.widgets.player.views import Report, Views, seconds
from vidnb.widgets.player.widget import Player, play

SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello\n"
PNG = bytes.fromhex("89504e470d0a1a0a")


class FakeView:
    """What player.js does with messages, without the video."""

    def __init__(self, player: Player, name: str = "view-1") -> None:
        self.player, self.name = player, name
        self.seq = 0
        self.state: dict[str, Any] = {"current_time": player.start_s, "paused": True}
        self.say("ready")
        self.obey(player.wish)

    def say(self, kind: str, **content: object) -> None:
        message = {"v": 1, "view": self.name, "kind": kind, **content}
        self.player._handle_custom_msg(message, [])

    def report(self, event: str = "pause", **state: object) -> None:
        self.state |= state
        self.say("state", event=event, seq=self.seq, **self.state)

    def obey(self, wish: dict[str, Any]) -> None:
        if wish.get("seq", 0) > self.seq:
            self.seq = wish["seq"]
            if "t_s" in wish:
                self.state["current_time"] = wish["t_s"]
            if "playing" in wish:
                self.state["paused"] = not wish["playing"]
            self.report("wish")


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

        monkeypatch.setattr(player_module, f"_{name}", record)
    return outputs


@pytest.fixture
def player(sent: list[dict[str, Any]]) -> Iterator[Player]:
    made = play(sample())
    yield made
    made.close()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        data: bytes = answer.read()
    return data


def direct(player: Player) -> dict[str, Any]:
    """Return the road that this process can take too."""
    (road,) = (road for road in player.urls if road["route"] == "direct")
    return road


def is_served(url: str) -> bool:
    try:
        fetch(url)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    return True


# What is played


def test_a_path_is_served_and_closed_with_its_player() -> None:
    player = play(str(sample()))
    road = direct(player)
    assert fetch(road["url"]) == sample().read_bytes()
    player.close()
    assert not is_served(road["url"])
    player.close()


def test_a_download_result_is_played_by_its_path() -> None:
    result = DownloadResult(
        path=sample(), url="https://example.org/x", size_bytes=1, sha256="", elapsed_s=0.0
    )
    player = play(result)
    assert player.name == "sample.mp4"
    player.close()


def test_a_served_file_stays_its_owners() -> None:
    with serve(sample()) as served:
        player = play(served)
        assert direct(player)["url"] == served.url
        player.close()
        assert is_served(served.url)


def test_what_serve_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServeError):
        play(tmp_path / "missing.mp4")


def test_options_become_configuration() -> None:
    player = play(sample(), start_s=2, autoplay=True, muted=True, loop=True, width=320)
    assert (player.start_s, player.autoplay, player.muted) == (2.0, True, True)
    assert (player.loop, player.width, player.name) == (True, 320, "sample.mp4")
    assert player.current_time == 2.0
    player.close()


def test_the_defaults_are_quiet() -> None:
    player = play(sample())
    assert (player.start_s, player.autoplay, player.muted, player.loop) == (
        0.0,
        False,
        False,
        False,
    )
    assert (player.width, player.tracks, player.poster, player.wish) == (960, [], [], {})
    player.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start_s": -1}, "start_s is in seconds"),
        ({"start_s": math.nan}, "start_s is in seconds"),
        ({"start_s": "3"}, "start_s is in seconds"),
        ({"width": 0}, "width is the number of CSS pixels"),
        ({"route": "sideways"}, 'route is one of "auto", .*, or the address of a proxy'),
        ({"route": "https://host/{port}"}, "route is"),
        ({"route": "https://host/{path}"}, "route is"),
        ({"route": "javascript:{port}{path}"}, "route is"),
        ({"poster": "data:image/png;base64," + "A" * 8192}, "the poster's URL is 8214 characters"),
        ({"subtitles": "WEBVTTX\nno cue"}, "no subtitles were found"),
    ],
)
def test_an_option_without_meaning_is_a_value_error(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        play(sample(), **options)


@pytest.mark.parametrize(("route", "needs"), [("auto", "loopback"), ("direct", "")])
def test_only_auto_asks_for_a_loopback_page(route: str, needs: str) -> None:
    player = play(sample(), route=route)
    assert direct(player)["needs"] == needs
    assert len(player.urls) == (1 if route == "direct" else 3)
    player.close()


def test_a_template_leads_through_a_proxy(tmp_path: Path) -> None:
    clip = tmp_path / "a {port} & b.mp4"
    shutil.copy(sample(), clip)
    with serve(clip) as served:
        player = play(served, route="/user/me/proxy/{port}/{path}")
        (road,) = player.urls
        root = f"http://127.0.0.1:{served.port}/"
        assert road["url"] == f"/user/me/proxy/{served.port}/" + served.url.removeprefix(root)
        assert "{" not in road["url"]
        assert (road["route"], road["needs"]) == ("template", "")
        assert road["box"].startswith(f"/user/me/proxy/{served.port}/~/")
        player.close()


def test_an_undecodable_name_can_still_be_sent() -> None:
    assert files.readable("fi\udcfflm ü.mp4") == "fi?lm ü.mp4"


# Poster and subtitles


def test_an_image_is_served_as_the_poster(tmp_path: Path) -> None:
    image = tmp_path / "p.png"
    image.write_bytes(PNG)
    player = play(sample(), poster=image)
    (road,) = (road for road in player.poster if road["route"] == "direct")
    assert fetch(road["url"]) == PNG
    player.close()
    assert not is_served(road["url"])


@pytest.mark.parametrize(
    "url", ["https://example.org/p.jpg", "http://h/p", "data:image/png;base64,AA"]
)
def test_a_short_url_is_the_poster_itself(url: str) -> None:
    player = play(sample(), poster=url)
    assert player.poster == [{"route": "given", "url": url, "box": "", "needs": ""}]
    player.close()


def test_a_poster_that_is_no_image_closes_what_was_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = []

    def remember(path: Any) -> Any:
        served.append(serve(path))
        return served[-1]

    monkeypatch.setattr(files, "serve", remember)
    with pytest.raises(ServeError, match="is no image: give a JPEG, PNG"):
        play(sample(), poster=sample())
    assert len(served) == 2
    assert not any(is_served(one.url) for one in served)


def test_subtitles_are_served_as_webvtt_and_go_with_the_player(tmp_path: Path) -> None:
    file = tmp_path / "talk.srt"
    file.write_text(SRT.replace("Hello", "Grüße"), encoding="cp1252")
    player = play(sample(), subtitles={"en": SRT, "Deutsch (SDH)": file})
    english, german = player.tracks
    assert (english["label"], english["lang"]) == ("", "en")
    assert (german["label"], german["lang"]) == ("Deutsch (SDH)", "")
    assert fetch(english["urls"][1]["url"]) == (b"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello\n")
    assert "Grüße" in fetch(german["urls"][1]["url"]).decode()
    folder = files._private_folder()
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


def test_subtitles_take_the_videos_road() -> None:
    player = play(sample(), subtitles=SRT, route="/proxy/{port}/{path}")
    assert player.tracks[0]["urls"][0]["url"].startswith("/proxy/")
    player.close()


def test_subtitles_that_cannot_be_read_are_a_sentence(
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
    monkeypatch.setattr(files, "_MOST_SUBTITLE_BYTES", 1000)
    text.write_text(SRT.ljust(1000), encoding="utf-8")
    play(sample(), subtitles=text).close()
    text.write_text(SRT.ljust(1001), encoding="utf-8")
    with pytest.raises(ServeError, match=r"larger than 1\.0 kB: is this the video\?"):
        play(sample(), subtitles=text)


# Commands


def test_before_any_view_the_player_stands_at_its_beginning(player: Player) -> None:
    assert (player.current_time, player.duration, player.paused) == (0.0, None, True)
    assert (player.ended, player.seeking, player.error, player.route) == (False, False, None, None)


def test_commands_chain_and_are_sent_at_once(player: Player, sent: list[dict[str, Any]]) -> None:
    assert player.seek(3).play().pause() is player
    assert sent == [
        {"v": 1, "kind": "wish", "seq": 1, "t_s": 3.0},
        {"v": 1, "kind": "wish", "seq": 2, "playing": True},
        {"v": 1, "kind": "wish", "seq": 3, "playing": False},
    ]


def test_a_view_that_comes_later_finds_the_wishes(player: Player) -> None:
    player.seek(3).play()
    assert player.wish == {"v": 1, "seq": 2, "t_s": 3.0, "playing": True}
    FakeView(player)
    assert (player.current_time, player.paused) == (3.0, False)
    assert player.wish == {}


def test_a_wish_stays_until_the_last_one_is_obeyed(player: Player) -> None:
    view = FakeView(player)
    player.seek(1)
    first = player.wish
    player.seek(2)
    view.obey(first)
    assert player.wish["t_s"] == 2.0
    view.obey(player.wish)
    assert player.wish == {}
    player.play()
    assert player.wish == {"v": 1, "seq": 3, "playing": True}


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, math.inf, "3", None, True])
def test_seek_takes_finite_seconds_from_the_start(player: Player, bad: Any) -> None:
    with pytest.raises(ValueError, match="seek is in seconds from the start, finite and not neg"):
        player.seek(bad)
    assert player.wish == {}


def test_commands_of_many_threads_keep_their_order(
    player: Player, sent: list[dict[str, Any]]
) -> None:
    threads = [threading.Thread(target=player.seek, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [message["seq"] for message in sent] == list(range(1, 21))
    assert player.wish["t_s"] == sent[-1]["t_s"]


# State


def test_properties_tell_what_the_view_reported(player: Player) -> None:
    view = FakeView(player)
    view.report(
        "error", current_time=4.5, duration=10.0, paused=False, ended=True, seeking=True,
        error="It broke.", route="direct",
    )  # fmt: skip
    assert (player.current_time, player.duration, player.paused) == (4.5, 10.0, False)
    assert (player.ended, player.seeking) == (True, True)
    assert (player.error, player.route) == ("It broke.", "direct")


def test_only_ticks_are_answered(player: Player, sent: list[dict[str, Any]]) -> None:
    view = FakeView(player)
    view.report("seeked")
    view.report("timeupdate")
    view.say("state", event="seeked", tick=4)
    assert sent == []
    view.say("state", event="timeupdate", tick=5)
    assert sent == [{"v": 1, "kind": "heard", "view": "view-1", "tick": 5}]


def test_a_knock_is_answered_where_it_came(player: Player, sent: list[dict[str, Any]]) -> None:
    """By the kernel's own channel alone: what was posted says nothing of that one."""
    view = FakeView(player)
    view.say("knock")
    assert sent == [{"v": 1, "kind": "welcome", "view": "view-1"}]
    player._vidnb_hear({"v": 1, "view": "view-1", "kind": "knock"})
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
        {"v": 1, "kind": "unheard of", "view": "a", "current_time": 9},
        {"v": 1, "kind": "gone", "view": "nobody"},
    ],
)
def test_unknown_messages_are_ignored(player: Player, message: Any) -> None:
    player._handle_custom_msg(message, [])
    assert player.current_time == 0.0
    assert player._vidnb_views.report is None


def test_a_report_takes_nothing_for_granted() -> None:
    nonsense = {
        "current_time": "5", "duration": math.inf, "paused": 0, "ended": 1, "seeking": "yes",
        "error": 7, "route": "",
    }  # fmt: skip
    assert Report.parse(nonsense, 3.0) == Report(heard_s=3.0)
    assert Report.parse({}, 0.0) == Report()


@pytest.mark.parametrize(
    ("value", "meant"), [(0, 0.0), (2.5, 2.5), (Fraction(1, 2), 0.5), (True, None), (-1, None)]
)
def test_seconds_are_real_numbers_from_zero(value: object, meant: float | None) -> None:
    assert seconds(value) == meant


def test_a_page_loaded_anew_comes_back_to_the_position(
    player: Player, sent: list[dict[str, Any]]
) -> None:
    view = FakeView(player)
    view.report("pause", current_time=7.5)
    view.say("gone")
    assert (player.current_time, player.paused) == (7.5, True)
    FakeView(player, "view-2")
    assert sent == [{"v": 1, "kind": "resume", "view": "view-2", "t_s": 7.5}]


def heard(
    views: Views, view: str, t_s: float, *, paused: bool, now_s: float = 0.0, event: str = ""
) -> Any:
    views.heard(view, {"current_time": t_s, "paused": paused, "event": event}, now_s)
    return views.report and views.report.current_time


def test_the_view_that_plays_speaks_for_the_player() -> None:
    views = Views()
    assert heard(views, "a", 1.0, paused=False) == 1.0
    assert heard(views, "b", 50.0, paused=True) == 1.0, "one that is merely opened does not speak"
    assert heard(views, "b", 51.0, paused=False, event="play") == 51.0, "one that starts does"
    assert heard(views, "a", 2.0, paused=False) == 51.0
    assert heard(views, "b", 52.0, paused=True) == 52.0
    assert heard(views, "a", 3.0, paused=False) == 3.0, "it had stopped, so the other speaks"
    assert len(views) == 2


def test_a_view_that_takes_the_lead_on_its_page_speaks_from_then_on() -> None:
    views = Views()
    assert views.heard("a", {"paused": False, "current_time": 1.0}, 0.0)
    assert not views.heard("b", {"paused": False, "current_time": 2.0}, 0.1)
    assert views.heard("b", {"paused": False, "current_time": 2.0, "leads": True}, 0.2)
    assert views.report is not None
    assert views.report.current_time == 2.0
    assert not views.heard("a", {"paused": False, "current_time": 1.5, "leads": "yes"}, 0.3)


def test_a_playing_view_that_falls_silent_is_passed_over() -> None:
    views = Views()
    heard(views, "a", 1.0, paused=False, now_s=10.0)
    assert heard(views, "b", 50.0, paused=True, now_s=12.0) == 1.0
    assert heard(views, "b", 50.0, paused=True, now_s=12.001) == 50.0


def test_a_view_that_goes_hands_over_or_leaves_a_still_player() -> None:
    views = Views()
    heard(views, "a", 1.0, paused=False)
    heard(views, "b", 50.0, paused=True)
    views.gone("b")
    assert views.report == Report(current_time=1.0, paused=False)
    heard(views, "b", 50.0, paused=True)
    views.gone("a")
    assert views.report == Report(current_time=50.0, paused=True)
    views.heard(
        "b", {"current_time": 51.0, "paused": False, "seeking": True, "route": "direct"}, 0.0
    )
    views.gone("b")
    assert views.report == Report(current_time=51.0, paused=True, seeking=False, route="direct")
    assert heard(views, "c", 2.0, paused=True) == 2.0


# What it looks like without a browser


def test_the_repr_is_short_and_true(player: Player) -> None:
    assert repr(player) == "Player('sample.mp4', paused at 0.000 s of unknown length)"
    FakeView(player).report("play", current_time=1.5, duration=10.0, paused=False)
    assert repr(player) == "Player('sample.mp4', playing at 1.500 s of 0:10)"


def test_the_bundle_holds_the_widget_and_the_card(player: Player) -> None:
    data, metadata = player._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == player.model_id
    assert data["text/plain"] == "sample.mp4 (video · 241.2 kB): run this cell again to watch it"
    assert "sample.mp4" in data["text/html"]
    assert "http" not in data["text/html"], "an address would be dead in a saved notebook"
    assert metadata == {}


def test_it_shows_a_card_and_one_widget(player: Player, shown: list[Any]) -> None:
    player._ipython_display_()
    (card, widget) = shown
    assert card[2] == {"raw": True, "display_id": player.card_id}
    assert player.card_id in card[1]["text/html"]
    assert set(card[1]) == {"text/html", "text/plain"}
    assert widget[1]["application/vnd.jupyter.widget-view+json"]["model_id"] == player.model_id
    assert "text/plain" not in widget[1]
    assert widget[1]["text/html"].startswith("<!--")
    assert sum(len(str(output)) for output in shown) < 4000


def test_a_closed_player_shows_its_card_alone(shown: list[Any]) -> None:
    player = play(sample())
    player.close()
    player._ipython_display_()
    assert [set(data) for _, data, _ in shown] == [{"text/html", "text/plain"}]


def test_the_card_learns_the_length_once(player: Player, shown: list[Any]) -> None:
    view = FakeView(player)
    view.report("loadedmetadata", duration=10.0)
    assert shown == [], "nothing was displayed, so there is nothing to bring up to date"
    player._ipython_display_()
    assert "0:10" in shown[0][1]["text/plain"]
    view.report("play")
    view.report("pause")
    assert [name for name, _, _ in shown] == ["display", "display", "update_display"]
    assert shown[2][1] == shown[0][1]
    assert shown[2][2] == {"raw": True, "display_id": player.card_id}


def test_ipython_shows_the_last_expression_once(player: Player, shown: list[Any]) -> None:
    """`_ipython_display_` does it all, so the formatter must add nothing of its own."""
    from IPython.core.formatters import DisplayFormatter

    formatter: Any = DisplayFormatter()
    data, _ = formatter.format(player)
    assert data == {}
    assert len(shown) == 2


def test_a_card_escapes_names_and_leaves_out_what_is_not_known() -> None:
    card = player_card("<b>&.mp4", length_s=None, size_bytes=None, mark="m")
    assert "&lt;b&gt;&amp;.mp4" in card["text/html"]
    assert card["text/plain"] == "<b>&.mp4 (video): run this cell again to watch it"
    full = player_card("a.mp4", length_s=3661.0, size_bytes=22_700_000, mark="m")
    assert (
        full["text/plain"] == "a.mp4 (video · 1:01:01 · 22.7 MB): run this cell again to watch it"
    )


def test_the_browser_writes_no_trait() -> None:
    script = Player._esm
    assert "save_changes" not in script
    assert "model.set(" not in script


def test_the_modules_are_joined_each_once_behind_what_they_import(tmp_path: Path) -> None:
    for name, text in {
        "a.js": 'import { b, other } from "./b.js";\nimport {\n  c,\n} from "./c.js";\nA\n',
        "b.js": 'import { c } from "./c.js";\nB\n',
        "c.js": 'import { b } from "./b.js";\nimport x from "https://example.org/x.js";\nC\n',
    }.items():
        (tmp_path / name).write_text(text, "utf-8")
    text = bundle(tmp_path / "a.js")
    assert text.split() == ["import", "x", "from", '"https://example.org/x.js";', "C", "B", "A"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_browsers_half(tmp_path: Path) -> None:
    """All of *.test.mjs, by node's own test runner; straw.mjs is the page they run on."""
    script = tmp_path / "player.js"
    script.write_text(Player._esm, "utf-8")
    scripts = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))
    done = subprocess.run(
        ["node", "--test", *(str(path) for path in scripts if "compare" not in path.name)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=os.environ | {"VIDNB_PLAYER_SCRIPT": str(script)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
