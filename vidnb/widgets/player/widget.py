"""`play()`: a video in a cell, played by the browser itself and steered from Python.

Nothing is embedded: the browser fetches byte ranges from vidnb's loopback server. What goes where:

- Traits hold configuration only, from Python to the browser. The browser never writes one.
- Commands are custom messages: `t_s` (go there), `step` (frames), `playing`, `rate`, `volume`,
  `muted`, `loop`, `fullscreen`; they also stand in the trait `wish` until a view says that it has
  obeyed, so that a view which appears later, even while the cell still runs, obeys them too.
- State comes back by HTTP, posted to the same server as the video comes from and over the same road
  (`player_channel.py`), at once on events and at 4 Hz while playing; so it is right while a cell
  runs. Over a road that takes no posts it comes as custom messages. Python answers each tick of
  those with `heard`; a view has at most two unheard ones under way, so a kernel that is busy for an
  hour finds two messages waiting, not fifteen thousand.
- A view numbers its messages (`n`): what was sent earlier and arrives later is not news.

Every message carries the version `v: 1`; whatever is not understood is ignored, on both sides.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from uuid import uuid4

import anywidget
import traitlets as t
from IPython.display import display, update_display

from vidnb.download.request import DownloadResult
from vidnb.download.stream import is_url
from vidnb.io.regular_file import StrPath
from vidnb.server.bundle import SCRIPTS, bundle
from vidnb.server.server import Served
from vidnb.widgets.card import player_card
from vidnb.widgets.card_picture import card_picture
from vidnb.widgets.job import DownloadJob
from vidnb.widgets.player.channel import PROTOCOL_VERSION, MessageChannel
from vidnb.widgets.player.controls import ControlsMixin, merge_commands
from vidnb.widgets.player.download_state import DownloadStateSender, serve_stream
from vidnb.widgets.player.event_waiter import EventWaiters
from vidnb.widgets.player.events import EventMixin
from vidnb.widgets.player.file_check import file_problem
from vidnb.widgets.player.files import (
    Routes,
    readable,
    serve_poster,
    serve_tracks,
    serve_video,
)
from vidnb.widgets.player.kernel_bytes import send_byte_range, send_index
from vidnb.widgets.player.markers import MarkersMixin, checked_markers
from vidnb.widgets.player.snapshot import SnapshotMixin, Snapshots
from vidnb.widgets.player.state import StateMixin
from vidnb.widgets.player.views import Views, seconds

__all__ = ["Player", "play"]

# IPython's own are not annotated.
_display: Final[Callable[..., object]] = display
_update_display: Final[Callable[..., object]] = update_display

_DEFAULT_WIDTH_PX: Final = 960


class Player(
    EventMixin, StateMixin, ControlsMixin, MarkersMixin, SnapshotMixin, anywidget.AnyWidget
):
    """One video, shown in as many places as it is displayed; made by `play`.

    The places on one page keep together: what is done in one, all do, and one of them is heard. One
    that is out of view or paused for long lets its connection go, and comes back by itself.

    The methods may be called from any cell and any thread and answer the player, so that they
    chain. The properties hold what the browser last reported, also while a cell runs; only where
    the video comes by the kernel's own channel do they change between two cells alone. Times are in
    seconds. What the browser cannot play becomes a sentence in `error`; only nonsense arguments
    (`ValueError`) and waiting in vain (`PlayerTimeout`) raise.
    """

    _esm: ClassVar[str] = bundle(SCRIPTS / "player.js")
    _css: ClassVar[Path] = SCRIPTS / "player.css"

    urls: t.List[dict[str, Any]] = t.List(help="The roads to the video, tried in this order.").tag(
        sync=True
    )
    name = t.Unicode(help="The file's name, shown under the picture.").tag(sync=True)
    start_s = t.Float(0.0, help="Where it begins (s).").tag(sync=True)
    autoplay = t.Bool(default_value=False, help="Play as soon as it is shown.").tag(sync=True)
    start_muted = t.Bool(default_value=False, help="Begin without sound.").tag(sync=True)
    start_loop = t.Bool(default_value=False, help="Begin anew at each end.").tag(sync=True)
    width = t.Int(_DEFAULT_WIDTH_PX, help="The greatest width (CSS px).").tag(sync=True)
    tracks: t.List[dict[str, Any]] = t.List(help="Subtitles: label, lang and roads of each.").tag(
        sync=True
    )
    poster: t.List[dict[str, Any]] = t.List(
        help="Roads to the image shown before the first play."
    ).tag(sync=True)
    card_id = t.Unicode(help="The saved card that a living view hides.").tag(sync=True)
    flaw = t.Unicode(help="What is wrong with the file itself, as a sentence.").tag(sync=True)
    wish = t.Dict(help="Commands no view has obeyed yet.").tag(sync=True)

    def __init__(
        self,
        *,
        owned: ExitStack | None = None,
        served: Served | None = None,
        arrival: DownloadStateSender | None = None,
        ways: Routes | None = None,
        marked: Iterable[tuple[float, str]] = (),
        picture: str | None = None,
        **config: Any,
    ) -> None:
        self._vidnb_owned = ExitStack() if owned is None else owned
        self._vidnb_lock = threading.RLock()
        self._vidnb_size_bytes = None if served is None else served.size_bytes
        self._vidnb_ways = Routes("auto") if ways is None else ways
        self._vidnb_card_picture = picture
        self._vidnb_seq = 0
        self._vidnb_views = Views()
        self._vidnb_happenings = EventWaiters()
        self._vidnb_pictures = Snapshots()
        self._vidnb_comm_thread = None
        self._vidnb_channel = MessageChannel(
            self._vidnb_owned, self._vidnb_hear, self._vidnb_pictures.see
        )
        self._vidnb_card_length: float | None = None
        self._vidnb_displayed = False
        if served is not None:
            config["urls"] = self._vidnb_ways.to_video(served, self._vidnb_channel)
        super().__init__(card_id=f"vidnb-card-{uuid4().hex[:12]}", **config)
        self.markers.replace(marked)
        self.on_msg(self._vidnb_on_message)
        self._vidnb_arrival = arrival
        if arrival is not None:
            arrival.begin(lambda content: self._vidnb_send_to("", "arrival", None, **content))

    # What a person asks for

    def play(self) -> Self:
        """Play; where the browser wants a click before it plays with sound, it says so."""
        return self._vidnb_ask(playing=True)

    def pause(self) -> Self:
        """Pause."""
        return self._vidnb_ask(playing=False)

    def seek(self, t_s: float) -> Self:
        """Go to `t_s` seconds from the start; past the end is the end.

        `ValueError` where `t_s` is negative or no number. Works while a cell runs, also before
        the player is shown.
        """
        return self._vidnb_ask(t_s=_checked_seconds("seek", t_s))

    def close(self) -> None:
        """Take the player off every page and stop serving what it alone has served."""
        super().close()
        self._vidnb_owned.close()

    @property
    def download(self) -> DownloadJob | None:
        """The download behind a player of a URL, else None."""
        return None if self._vidnb_arrival is None else self._vidnb_arrival.job

    # How it shows itself

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget and, for whoever has no kernel, the card."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._vidnb_card()}, metadata

    def _ipython_display_(self, **_options: Any) -> None:
        """Show the card and the widget as two outputs; a living view hides the card.

        In a trusted notebook without a kernel JupyterLab 4.6 answers a widget it does not know
        with a line of its own, whatever else the bundle holds; only an output of its own is read.
        """
        self._vidnb_displayed = True
        _display(self._vidnb_card(), raw=True, display_id=self.card_id)
        if self.comm is None:  # closed
            return
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        # Where the widget cannot be shown, the card above has said it all; without this line the
        # page would print the plain text again.
        data |= {"text/html": "<!-- the card above stands for this player -->"}
        data.pop("text/plain", None)
        _display(data, raw=True, metadata=metadata)

    def _vidnb_card(self) -> dict[str, str]:
        return player_card(
            self.name,
            length_s=self.duration,
            size_bytes=self._vidnb_size_bytes,
            mark=self.card_id,
            picture=self._vidnb_card_picture,
        )

    # How it talks with its views

    def _vidnb_ask(self, **command: bool | float) -> Self:
        with self._vidnb_lock:  # held while sending, so that two threads' commands keep their order
            self._vidnb_seq += 1
            self._vidnb_happenings.begin()
            head = {"v": PROTOCOL_VERSION, "seq": self._vidnb_seq}
            self.wish = {**merge_commands(self.wish, command), **head}
            self.send({"kind": "wish", **command, **head})
        return self

    def _vidnb_on_message(self, _widget: object, content: object, buffers: object) -> None:
        """Hear what comes over the kernel's channel, on the thread that a cell keeps busy."""
        self._vidnb_comm_thread = threading.get_ident()
        if not isinstance(content, dict):
            return
        self._vidnb_hear(content, buffers)
        if content.get("v") != PROTOCOL_VERSION:
            return
        view = str(content.get("view"))
        match content.get("kind"):
            case "knock":
                self._vidnb_send_to(view, "welcome")
            case "name":
                self._vidnb_ways.trust(content.get("name"))
            case "span":
                answer, data = send_byte_range(self._vidnb_ways.of, content)
                self._vidnb_send_to(view, "bytes", data, **answer)
            case "outline":
                answer, data = send_index(self._vidnb_ways.of, content)
                self._vidnb_send_to(view, "outline", data, **answer)

    def _vidnb_hear(self, content: Mapping[str, Any], buffers: object = None) -> None:
        """Hear a message, whichever road it came by; never waits."""
        view = content.get("view")
        if content.get("v") != PROTOCOL_VERSION or not isinstance(view, str):
            return
        with self._vidnb_lock:
            is_news = self._vidnb_views.is_news(view, content.get("n"))
        match content.get("kind"):
            case "ready" if is_news:
                self._vidnb_on_ready(view)
            case "state" if is_news:
                self._vidnb_on_state(view, content)
            case "marker":
                if self.markers.hear(content):
                    self._vidnb_emit("marker")
            case "gone" if is_news:
                self._vidnb_on_gone(view)
            case "picture":
                self._vidnb_pictures.take(content, buffers)

    def _vidnb_on_ready(self, view: str) -> None:
        """Bring a view that comes later (a second one, a page loaded anew) to the position."""
        report = self._vidnb_views.report
        if report is not None:
            self._vidnb_send_to(view, "resume", t_s=report.current_time)
        if self._vidnb_arrival is not None:
            self._vidnb_send_to(view, "arrival", None, **self._vidnb_arrival.content)

    def _vidnb_on_state(self, view: str, content: Mapping[str, object]) -> None:
        with self._vidnb_lock:
            if content.get("seq") == self._vidnb_seq and self.wish:
                self.wish = {}
            speaks = self._vidnb_views.heard(view, content, time.monotonic())
            length = self.duration
            tell_length = self._vidnb_displayed and length not in {None, self._vidnb_card_length}
            if tell_length:
                self._vidnb_card_length = length
            event, tick = content.get("event"), content.get("tick")
            if speaks and isinstance(event, str):
                self._vidnb_tell(event, obeyed=content.get("seq") == self._vidnb_seq)
        if event == "timeupdate" and isinstance(tick, int):
            self._vidnb_send_to(view, "heard", tick=tick)
        if tell_length:
            _update_display(self._vidnb_card(), raw=True, display_id=self.card_id)

    def _vidnb_tell(self, event: str, *, obeyed: bool) -> None:
        """Tell those who wait and those who listen.

        Whoever waits means what follows the last command: not an end of a seek that was overtaken.
        """
        # What lasts is true of a view that takes the lead with its road behind it, too.
        if self.route is not None:
            self._vidnb_happenings.note("route")
        if self.duration is not None:
            self._vidnb_happenings.note("loadedmetadata")
        if event == "error" or (obeyed and not (event == "seeked" and self.seeking)):
            self._vidnb_happenings.note(event)
        self._vidnb_emit(event)

    def _vidnb_on_gone(self, view: str) -> None:
        with self._vidnb_lock:
            self._vidnb_views.gone(view)

    def _vidnb_send_to(
        self, view: str, kind: str, buffers: list[bytes] | None = None, **content: object
    ) -> None:
        """Send a message to one view, or to all where `view` is empty."""
        self.send({"v": PROTOCOL_VERSION, "kind": kind, "view": view, **content}, buffers)


def play(
    source: StrPath | Served | DownloadResult,
    *,
    start_s: float | None = None,
    autoplay: bool = False,
    muted: bool = False,
    loop: bool = False,
    width: int | None = None,
    subtitles: StrPath | Mapping[str, StrPath] | None = None,
    poster: StrPath | None = None,
    route: str = "auto",
    markers: Iterable[tuple[float, str]] = (),
    save_to: StrPath | None = None,
) -> Player:
    """Return a player for `source`: a path, an http(s) URL, a `Served`, or a `DownloadResult`.

    A URL is played while it is fetched: what the player asks for comes first, and in the end the
    whole, checked file stands under `save_to` (a file or a folder, as `path` of `vidnb.download`)
    or, without that, in the user's cache, where the next call finds it. `player.download` is the
    `DownloadJob`; `player.close()` stops it and keeps what has come. Raises what `vidnb.download`
    raises where it fails before the size is known.

    `start_s` is where it begins (s); `width` the greatest width (CSS px, 960 by default, never
    wider than the cell). `subtitles` is a .vtt or .srt file, such text itself, or several of them
    by language tag or label; the first is shown. `poster` is an image file, or an http(s) or
    `data:image/` URL under 8 KiB. The bytes stay outside the notebook. `markers` are shown on the
    timeline, each `(t_s, label)`.

    `route` is the road from the browser to the bytes. "auto" finds one by itself: an address that
    `VIDNB_URL_TEMPLATE` names, the proxy of the notebook's host, this machine's loopback where the
    page comes from there too, Jupyter's `/files/`, and the kernel's own channel. "template",
    "colab", "proxy", "direct", "files" or "kernel" allow that one alone, and so does an address
    with `{port}` and `{path}` in it, as `/user/me/proxy/{port}/{path}`.

    `ServeError` where a file cannot be served; `ValueError` where an option has no meaning.
    Chromium, Firefox and Safari decode H.264 in MP4 and VP9 in WebM.
    """
    if save_to is not None and not is_url(source):
        raise ValueError("save_to is for a URL; what is here already stays where it is.")
    begin_s = 0.0 if start_s is None else _checked_seconds("start_s", start_s)
    if width is not None and width < 1:
        raise ValueError(f"width is the number of CSS pixels, at least 1, not {width}")
    ways = Routes(route)
    checked = checked_markers(markers)
    made = ExitStack()
    try:
        arrival = None
        if is_url(source):
            served, arrival = serve_stream(source, save_to, made)
        else:
            served = serve_video(source, made)
        return Player(
            owned=made,
            served=served,
            arrival=arrival,
            ways=ways,
            name=readable(served.name),
            flaw=readable(file_problem(served)),
            start_s=begin_s,
            autoplay=autoplay,
            start_muted=muted,
            start_loop=loop,
            width=_DEFAULT_WIDTH_PX if width is None else width,
            tracks=serve_tracks(subtitles, ways, made),
            poster=serve_poster(poster, ways, made),
            marked=checked,
            picture=card_picture(poster),
        )
    except BaseException:
        made.close()
        raise


def _checked_seconds(what: str, value: float) -> float:
    checked = seconds(value)
    if checked is None:
        raise ValueError(
            f"{what} is in seconds from the start, finite and not negative, not {value!r}"
        )
    return checked
