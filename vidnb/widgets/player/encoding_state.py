"""A player of frames that are still being encoded: segments, progress, the complete file."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from vidnb.media.delivery import Delivery, Playback
from vidnb.server.growing_source import VARIANT, GrowingSource
from vidnb.server.server import Served
from vidnb.widgets.player.files import printable
from vidnb.widgets.player.frame_numbers import FrameMixin

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidnb.widgets.encoding import Encoding

__all__ = ["EncodingMixin", "EncodingState"]

_REASON: Final = "its frames are encoded while it plays"
_MAX_REASON: Final = 300
"""So many characters of an error (of the user's code) are shown in the page."""


class EncodingState:
    """The state of an encoding for the toolbar of a player; see `DownloadStateSender`."""

    def __init__(self, encoding: "Encoding", *, is_kept: bool, is_shown: bool) -> None:
        self.encoding = encoding
        self._is_kept = is_kept
        self._is_shown = is_shown

    @property
    def problem(self) -> str:
        """A sentence if not all frames are encoded, else an empty text."""
        encoding, error = self.encoding, self.encoding.error
        if encoding.phase == "cancelled":
            return f"The encoding was {encoding.state}; the video ends there."
        if encoding.phase != "failed" or error is None:
            return ""
        kept = "the video ends there" if encoding.frames else "there is no video"
        reason = " ".join(str(error).split())[:_MAX_REASON] or "no reason given"
        return (
            f"The encoding {encoding.state}; {kept}. {type(error).__name__}: {reason.rstrip('.')}."
            " player.encoding.result() raises it."
        )

    @property
    def content(self) -> dict[str, object]:
        """The current state, for a message."""
        encoding, phase = self.encoding, self.encoding.phase
        text = encoding.state
        if phase == "encoded":
            text = "saved" if self._is_kept else ""
        elif phase == "encoding" and not self._is_shown:
            text = ""
        return {
            "state": {"encoded": "saved", "encoding": "encoding"}.get(phase, "failed"),
            "ranges": [],
            "generation": 0,
            "text": text,
            "note": self.problem or encoding.state,
            "problem": self.problem,
        }


class EncodingMixin(FrameMixin):
    """The part of `Player` that shows frames while they are encoded."""

    _vidnb_encoding: "EncodingState | None" = None
    _vidnb_encoded: Served
    _vidnb_type = ""
    _vidnb_size_bytes: int | None
    _vidnb_publish_playback: "Callable[[Playback], None]"

    @property
    def encoding(self) -> "Encoding | None":
        """The encoding behind a player of `vidnb.show`, else None."""
        return None if self._vidnb_encoding is None else self._vidnb_encoding.encoding

    def _vidnb_follow(self, state: EncodingState, served: Served) -> None:
        """Show the state of the encoding of what is served."""
        self._vidnb_encoding, self._vidnb_encoded = state, served
        self._vidnb_size_bytes = None

    def _vidnb_show_segments(self, mime_type: str) -> None:
        """Play the segments from now on."""
        self._vidnb_type = mime_type
        self._vidnb_deliver(_segments(mime_type))

    def _vidnb_show_progress(self) -> None:
        """Show how many frames are encoded."""
        if self._vidnb_encoding is not None:
            self._vidnb_send_to("", "download_state", None, **self._vidnb_encoding.content)

    def _vidnb_show_file(self, path: Path | None) -> None:
        """Play the complete file from now on; views that play the segments go on with these.

        The file ends early where the encoding failed or was cancelled; without one there was no
        frame.
        """
        problem = "" if self._vidnb_encoding is None else self._vidnb_encoding.problem
        mime_type, resource = self._vidnb_type, self._vidnb_encoded._resource  # noqa: SLF001 - of the same package
        if path is not None and isinstance(resource.source, GrowingSource):
            resource.source = resource.source.complete(path)
            self._vidnb_size_bytes = path.stat().st_size
            self._vidnb_deliver(Delivery("direct", "", mime_type, ""), _segments(mime_type))
            self._vidnb_load_frame_times()
        elif problem:
            self._vidnb_deliver(problem=problem)
        if problem:
            self._vidnb_set_trait("file_problem", printable(problem))
        self._vidnb_show_progress()

    def _vidnb_deliver(self, *deliveries: Delivery, problem: str = "") -> None:
        playback = Playback(deliveries, problem, start_s=0.0)
        if self._vidnb_playback is not None:
            self._vidnb_playback.known = playback
        self._vidnb_publish_playback(playback)


def _segments(mime_type: str) -> Delivery:
    return Delivery("transcode", VARIANT, mime_type, _REASON)
