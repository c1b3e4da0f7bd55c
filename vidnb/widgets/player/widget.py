"""`play()`: a video in a cell, played by the browser and controlled from Python.

Nothing is embedded: the browser requests byte ranges from vidnb's loopback server. The protocol
with the views (`widgets/js`), version `v: 1`, whose unknown messages both sides ignore:

- Traits hold configuration, from Python to the browser. The browser never writes one.
- `command`: `t_s` (seek), `step` (frames), `playing`, `rate`, `volume`, `muted`, `loop`,
  `fullscreen`, numbered by `seq`. The trait `pending_command` holds them until a view has applied
  them, so that a view which appears later applies them too, even while the cell still runs.
- `state`: posted to the server of the video, over the same route, at once on events and at 4 Hz
  while playing; so it is current while a cell runs. On a route without a message endpoint it comes
  over the comm, where Python acknowledges each tick by `state_ack`; a view has at most two
  unacknowledged, so that a kernel which was busy for an hour finds two messages, not 15,000.
- Over the comm alone: `hello`, answered by `ack`; `page_host`; `byte_range` and `segment`, answered
  by `bytes`.
- `ready`, answered by `restore` and `frame_times`; `bye`; `marker`; `snapshot`; `download_state`;
  `thumbnail` with `t_s`, answered by `thumbnail` (`thumbnails.py`).

A view numbers its messages (`n`), so that one which arrives after a later one is ignored.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import traitlets as t

from vidnb.download.request import DownloadResult
from vidnb.download.stream import is_url
from vidnb.io.regular_file import StrPath, expand_user
from vidnb.server.bundle import SCRIPTS, bundle
from vidnb.server.server import Served
from vidnb.widgets.card import CardMixin, card_picture, player_card
from vidnb.widgets.job import DownloadJob
from vidnb.widgets.player.arguments import check_integer, check_number
from vidnb.widgets.player.channel import MessageChannel, is_message
from vidnb.widgets.player.controls import ControlsMixin
from vidnb.widgets.player.deliveries import PlaybackReader, check_convert
from vidnb.widgets.player.download_state import DownloadStateSender, serve_stream
from vidnb.widgets.player.encoding_state import EncodingMixin, EncodingState
from vidnb.widgets.player.event_waiter import EventWaiters
from vidnb.widgets.player.events import EventMixin
from vidnb.widgets.player.files import (
    file_problem,
    printable,
    serve_poster,
    serve_tracks,
    serve_video,
)
from vidnb.widgets.player.kernel_bytes import SegmentSender, send_byte_range
from vidnb.widgets.player.markers import Markers, MarkersMixin, check_markers
from vidnb.widgets.player.routes import Routes
from vidnb.widgets.player.snapshot import SnapshotMixin, Snapshots
from vidnb.widgets.player.state import StateMixin
from vidnb.widgets.player.views import Views

if TYPE_CHECKING:
    from vidnb.media.delivery import Playback

__all__ = ["Player", "play"]

_DEFAULT_WIDTH_PX: Final = 960


class Player(
    EventMixin, StateMixin, MarkersMixin, ControlsMixin, EncodingMixin, SnapshotMixin, CardMixin
):
    """One video, shown in as many places as it is displayed; made by `play`.

    The views in one page stay in sync, and one of them has sound. One that is off-screen or paused
    for long releases its connection, and resumes by itself.

    The methods may be called from any cell and any thread and return the player, so that they
    chain. The properties hold what the browser last reported, also while a cell runs; only where
    the video comes through the kernel channel do they change between two cells alone. Times are in
    seconds. A video that the browser cannot play becomes a sentence in `error`; only invalid
    arguments (`ValueError`) and waiting in vain (`PlayerTimeout`, `Unreachable`) raise.
    """

    _esm: ClassVar[str] = bundle(SCRIPTS / "player.js")
    _css: ClassVar[Path] = SCRIPTS / "player.css"

    urls: t.List[dict[str, Any]] = t.List(help="Routes to the video, best first.").tag(sync=True)
    name = t.Unicode(help="The file's name, shown under the picture.").tag(sync=True)
    start_s = t.Float(0.0, help="Where it starts (s).").tag(sync=True)
    end_s = t.Float(None, allow_none=True, help="Where it stops (s).").tag(sync=True)
    autoplay = t.Bool(default_value=False, help="Play as soon as it is shown.").tag(sync=True)
    start_muted = t.Bool(default_value=False, help="Start without sound.").tag(sync=True)
    start_loop = t.Bool(default_value=False, help="Start in a loop.").tag(sync=True)
    width = t.Int(_DEFAULT_WIDTH_PX, help="The greatest width (CSS px).").tag(sync=True)
    tracks: t.List[dict[str, Any]] = t.List(help="Subtitles: label, lang, urls.").tag(sync=True)
    poster: t.List[dict[str, Any]] = t.List(help="Routes to the poster.").tag(sync=True)
    file_problem = t.Unicode(help="A sentence about a damaged file.").tag(sync=True)
    deliveries: t.List[dict[str, Any]] | None = t.List(
        default_value=None, allow_none=True, help="How the video can be delivered, best first."
    ).tag(sync=True)
    playback_problem = t.Unicode(help="A sentence if no delivery plays.").tag(sync=True)

    def __init__(
        self,
        *,
        owned: ExitStack | None = None,
        served: Served | None = None,
        download_state: DownloadStateSender | None = None,
        routes: Routes | None = None,
        playback: PlaybackReader | None = None,
        markers: Iterable[tuple[float, str]] = (),
        picture: str | None = None,
        **config: Any,
    ) -> None:
        owned = ExitStack() if owned is None else owned
        self._vidnb_size_bytes = None if served is None else served.size_bytes
        self._vidnb_routes = Routes("auto") if routes is None else routes
        self._vidnb_card_picture = picture
        self._vidnb_views = Views()
        self._vidnb_waiters = EventWaiters()
        self._vidnb_snapshots = Snapshots()
        self._vidnb_comm_thread = None
        self._vidnb_download_state = download_state
        self._vidnb_playback = playback
        self._vidnb_generation = 0
        self._vidnb_channel = MessageChannel(
            owned, self._vidnb_handle_message, self._vidnb_snapshots.receive
        )
        if served is not None:
            config["urls"] = self._vidnb_routes.to_video(served, self._vidnb_channel)
        self._vidnb_segments = SegmentSender(self._vidnb_routes.resources, self._vidnb_send_to)
        owned.callback(self._vidnb_segments.close)
        if playback is not None and playback.known is not None:
            config["deliveries"] = playback.known.as_dicts()
            config["playback_problem"] = printable(playback.known.problem)
        self._vidnb_open_frames(served, owned)
        super().__init__(owned=owned, **config)
        owned.callback(self._vidnb_remove_callbacks)
        self._vidnb_markers = Markers(
            self._vidnb_outbox, lambda markers: self.set_trait("marker_list", markers)
        )
        self.markers.replace(markers)
        if playback is not None and playback.known is None:
            owned.callback(playback.close)
            playback.start(self._vidnb_publish_playback)
        if download_state is not None:
            owned.callback(download_state.stop)
            download_state.start(self._vidnb_send_download_state)

    @property
    def download(self) -> DownloadJob | None:
        """The download behind a player of a URL, else None."""
        return None if self._vidnb_download_state is None else self._vidnb_download_state.job

    def _vidnb_card(self) -> dict[str, str]:
        return player_card(
            self.name,
            length_s=self.duration,
            size_bytes=self._vidnb_size_bytes,
            card_id=self.card_id,
            picture=self._vidnb_card_picture,
        )

    def _vidnb_lengths_s(self) -> tuple[float | None, ...]:
        return (self.duration,)

    def _vidnb_publish_playback(self, playback: "Playback") -> None:
        """Send the deliveries of a file that is downloaded; on a thread."""
        self._vidnb_set_trait("playback_problem", printable(playback.problem))
        self._vidnb_set_trait("deliveries", playback.as_dicts())
        self._vidnb_outbox.flush()
        if playback.start_s:  # frame times may have been sent without it
            self._vidnb_send_frame_times("")

    def _vidnb_send_download_state(self, content: dict[str, Any]) -> None:
        """Send the state of the download; of a file that changed the deliveries are read again."""
        if content["generation"] > self._vidnb_generation and self._vidnb_playback is not None:
            self._vidnb_generation = content["generation"]
            self._vidnb_set_trait("deliveries", None)
            self._vidnb_playback.start(self._vidnb_publish_playback)
        self._vidnb_send_to("", "download_state", None, **content)

    def _vidnb_begin_command(self) -> None:
        self._vidnb_waiters.reset()

    def _vidnb_handle_comm_message(self, content: dict[str, Any], buffers: object) -> None:
        """Handle a message of the comm; some kinds are allowed only there."""
        self._vidnb_comm_thread = threading.get_ident()
        self._vidnb_handle_message(content, buffers)
        view = content["view"]
        match content.get("kind"):
            case "hello":
                self._vidnb_send_to(view, "ack")
            case "page_host":
                self._vidnb_routes.allow_page_host(content.get("host"))
            case "byte_range":
                response, data = send_byte_range(self._vidnb_routes.resources, content)
                self._vidnb_send_to(view, "bytes", data, **response)
            case "segment":
                self._vidnb_segments.handle_message(view, content)

    def _vidnb_handle_message(self, content: Mapping[str, Any], buffers: object = None) -> None:
        """Handle a message that came over the comm or by HTTP; on any thread."""
        if not is_message(content):
            return
        view = content["view"]
        with self._vidnb_lock:
            is_new = self._vidnb_views.is_new(view, content.get("n"))
            is_late = not is_new and self._vidnb_views.is_late(view, content.get("n"))
        match content.get("kind"):
            case "ready" if is_new:
                self._vidnb_handle_ready(view)
            case "state" if is_new:
                self._vidnb_handle_state(view, content)
            case "state" if is_late:
                self._vidnb_handle_late_state(view, content)
            case "marker":
                if self.markers.handle_message(content):
                    self._vidnb_emit("marker")
            case "bye" if is_new:
                with self._vidnb_lock:
                    self._vidnb_views.remove(view)
            case "thumbnail" if self._vidnb_thumbnails is not None:
                self._vidnb_thumbnails.handle_message(view, content)
            case "snapshot":
                self._vidnb_snapshots.handle_message(content, buffers)

    def _vidnb_handle_ready(self, view: str) -> None:
        """Send a new view (a second one, a reloaded page) the position and the download state."""
        report = self._vidnb_views.report
        if report is not None:
            self._vidnb_send_to(view, "restore", t_s=report.current_time)
        self._vidnb_send_frame_times(view)
        state: DownloadStateSender | EncodingState | None
        state = self._vidnb_download_state or self._vidnb_encoding
        if state is not None:
            self._vidnb_send_to(view, "download_state", None, **state.content)

    def _vidnb_handle_state(self, view: str, content: Mapping[str, object]) -> None:
        event, tick = content.get("event"), content.get("tick")
        with self._vidnb_lock:
            is_last = self._vidnb_acknowledge(content.get("seq"))
            is_leader = self._vidnb_views.update(view, content, time.monotonic())
            if is_leader and isinstance(event, str):
                self._vidnb_notify(event, is_last=is_last)
            self._vidnb_queue_card()
        if event == "loadedmetadata":
            self._vidnb_load_frame_times()
        if event == "timeupdate" and isinstance(tick, int):
            self._vidnb_send_to(view, "state_ack", tick=tick)
        self._vidnb_outbox.flush()

    def _vidnb_handle_late_state(self, view: str, content: Mapping[str, object]) -> None:
        """Notify of the event of a report that came after a later one."""
        event = content.get("event")
        with self._vidnb_lock:
            if isinstance(event, str) and self._vidnb_views.leader == view:
                self._vidnb_notify(event, is_last=content.get("seq") == self._vidnb_seq)

    def _vidnb_notify(self, event: str, *, is_last: bool) -> None:
        """Notify waiters and callbacks of an event; `is_last`: it follows the last command.

        Waiters wait for what follows the last command: not for an earlier seek that was replaced.
        """
        # Known of a view that becomes the leader after these events, too.
        if self.route is not None:
            self._vidnb_waiters.notify("route")
        if self.duration is not None:
            self._vidnb_waiters.notify("loadedmetadata")
        if event == "error" or (is_last and not (event == "seeked" and self.seeking)):
            self._vidnb_waiters.notify(event)
        self._vidnb_emit(event)


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
    end_s: float | None = None,
    convert: str = "auto",
) -> Player:
    """Return a player for `source`: a path, an http(s) URL, a `Served`, or a `DownloadResult`.

    A URL plays while it downloads: what the player requests comes first, and in the end the
    complete, verified file is at `save_to` (a file or a folder, as `path` of `vidnb.download`) or,
    without it, in the user's cache, where the next call finds it. `player.download` is the
    `DownloadJob`; `player.close()` stops it and keeps what is stored. Raises what `vidnb.download`
    raises where it fails before the size is known.

    `start_s` is where it starts (s). With `end_s` only the part up to there plays: it pauses on the
    last frame that starts before `end_s`, which is `player.ended` and the event "ended", and with
    `loop` it goes back to `start_s`. Any other position can be sought and stepped to; from before
    the part it plays into it, from its end or later it plays from `start_s` again. A comparison
    plays whole videos.

    `width` is the greatest width (CSS px, 960 by default, never wider than the cell). `subtitles`
    is a .vtt or .srt file, such text itself, or several of them by language tag or label; the first
    is shown. `poster` is an image file, or an http(s) or `data:image/` URL under 8 KiB. The bytes
    stay outside the notebook. `markers` are shown on the timeline, each `(t_s, label)`; above the
    pointer it shows thumbnails, where the extra `media` is installed. Paths may begin with `~`.

    `route` is the route from the browser to the bytes. "auto" tries, in this order, the URL that
    `VIDNB_URL_TEMPLATE` names, the proxy of the notebook's host, this machine's loopback address
    where the page comes from there too, Jupyter's `/files/`, and the kernel channel. "template",
    "colab", "proxy", "direct", "files" or "kernel" allow that one alone, and so does a URL with
    `{port}` and `{path}` in it, as `/user/me/proxy/{port}/{path}`.

    `convert` says what happens to a file that the browser does not play, such as Matroska or HEVC:
    with "auto" it is remuxed or transcoded while it plays, which needs the extra `media`; "never"
    plays the file itself alone, "always" transcodes any. `player.delivery` is what is done.

    `ServeError` where a file cannot be served; `ValueError` for an invalid argument, also for an
    `end_s` that is not later than `start_s`.
    """
    wanted = check_convert(convert)
    if save_to is not None and not is_url(source):
        raise ValueError("save_to is for a URL; a local file stays where it is")
    start_s = 0.0 if start_s is None else check_number("start_s", start_s, minimum=0)
    if end_s is not None:
        end_s = check_number("end_s", end_s)
        if end_s <= start_s:
            raise ValueError(f"end_s must be later than start_s ({start_s:g} s), not {end_s:g}")
    width = _DEFAULT_WIDTH_PX if width is None else check_integer("width", width, minimum=1)
    routes = Routes(route)
    checked_markers = check_markers(markers)
    owned = ExitStack()
    try:
        download_state = None
        if is_url(source):
            folder_or_file = None if save_to is None else expand_user(save_to)
            served, download_state = serve_stream(source, folder_or_file, owned)
        else:
            served = serve_video(source, owned)
        playback = PlaybackReader(served, wanted)
        if served.path is not None:
            playback.read()
        return Player(
            owned=owned,
            served=served,
            download_state=download_state,
            routes=routes,
            playback=playback,
            name=printable(served.name),
            file_problem=printable(file_problem(served)),
            start_s=start_s,
            end_s=end_s,
            autoplay=autoplay,
            start_muted=muted,
            start_loop=loop,
            width=width,
            tracks=serve_tracks(subtitles, routes, owned),
            poster=serve_poster(poster, routes, owned),
            markers=checked_markers,
            picture=card_picture(poster),
        )
    except BaseException:
        owned.close()
        raise
