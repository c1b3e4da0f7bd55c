"""Video in notebooks: download it reliably, play it with seeking, and work with its frames.

    import vidnb

    result = vidnb.download("https://example.org/film.mp4")   # complete and verified, or an error
    vidnb.play(result.path)                                   # seeks, embeds nothing

Each name is imported at its first use, so `import vidnb` is fast.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidnb.compat import get_video_data, save_video_from_url
    from vidnb.download.batch import DownloadBatch
    from vidnb.download.file_object import open_source
    from vidnb.download.planner.retry import RetryPolicy
    from vidnb.download.request import DownloadResult
    from vidnb.errors import (
        ChecksumMismatch,
        MediaError,
        MissingExtra,
        NotAVideo,
        PlayerTimeout,
        RemoteProtocolError,
        ServeError,
        SourceChanged,
        StatusError,
        StorageError,
        TooLarge,
        TransferError,
        TransferTimeout,
        TransportError,
        Unreachable,
        URLNotAllowed,
        VidnbError,
    )
    from vidnb.media.clip import ClipResult, clip
    from vidnb.media.convert import ConvertResult, convert
    from vidnb.media.frames import Frame, Frames, frames
    from vidnb.media.media_info import MediaInfo
    from vidnb.media.probe import probe
    from vidnb.media.sheet import Sheet, sheet
    from vidnb.server.sample import sample
    from vidnb.server.server import Served, serve
    from vidnb.widgets.api import download, download_async, start_download
    from vidnb.widgets.batch import download_many
    from vidnb.widgets.compare.comparison import Comparison, compare
    from vidnb.widgets.encoding import Encoding, ShowResult
    from vidnb.widgets.job import DownloadJob
    from vidnb.widgets.player.widget import Player, play
    from vidnb.widgets.show import show

    open = open_source  # noqa: A001 - see `__getattr__`

__all__ = [
    "ChecksumMismatch",
    "ClipResult",
    "Comparison",
    "ConvertResult",
    "DownloadBatch",
    "DownloadJob",
    "DownloadResult",
    "Encoding",
    "Frame",
    "Frames",
    "MediaError",
    "MediaInfo",
    "MissingExtra",
    "NotAVideo",
    "Player",
    "PlayerTimeout",
    "RemoteProtocolError",
    "RetryPolicy",
    "ServeError",
    "Served",
    "Sheet",
    "ShowResult",
    "SourceChanged",
    "StatusError",
    "StorageError",
    "TooLarge",
    "TransferError",
    "TransferTimeout",
    "TransportError",
    "URLNotAllowed",
    "Unreachable",
    "VidnbError",
    "clip",
    "compare",
    "convert",
    "download",
    "download_async",
    "download_many",
    "frames",
    "get_video_data",
    "play",
    "probe",
    "sample",
    "save_video_from_url",
    "serve",
    "sheet",
    "show",
    "start_download",
]

__version__ = "0.1.0"

_MODULES = {
    "DownloadBatch": "vidnb.download.batch",
    "download_many": "vidnb.widgets.batch",
    "ClipResult": "vidnb.media.clip",
    "Comparison": "vidnb.widgets.compare.comparison",
    "ConvertResult": "vidnb.media.convert",
    "DownloadJob": "vidnb.widgets.job",
    "DownloadResult": "vidnb.download.request",
    "Encoding": "vidnb.widgets.encoding",
    "Frame": "vidnb.media.frames",
    "Frames": "vidnb.media.frames",
    "MediaInfo": "vidnb.media.media_info",
    "Player": "vidnb.widgets.player.widget",
    "RetryPolicy": "vidnb.download.planner.retry",
    "ShowResult": "vidnb.widgets.encoding",
    "Served": "vidnb.server.server",
    "clip": "vidnb.media.clip",
    "Sheet": "vidnb.media.sheet",
    "compare": "vidnb.widgets.compare.comparison",
    "convert": "vidnb.media.convert",
    "download": "vidnb.widgets.api",
    "download_async": "vidnb.widgets.api",
    "frames": "vidnb.media.frames",
    "get_video_data": "vidnb.compat",
    "play": "vidnb.widgets.player.widget",
    "probe": "vidnb.media.probe",
    "sample": "vidnb.server.sample",
    "save_video_from_url": "vidnb.compat",
    "serve": "vidnb.server.server",
    "sheet": "vidnb.media.sheet",
    "show": "vidnb.widgets.show",
    "start_download": "vidnb.widgets.api",
}


def __getattr__(name: str) -> Any:
    if name == "open":
        # Not in `__all__`: `from vidnb import *` would replace the built-in function.
        return import_module("vidnb.download.file_object").open_source
    if name not in __all__:
        raise AttributeError(f"module 'vidnb' has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "vidnb.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "open"])


class _Package(ModuleType):
    """Keep `vidnb.download` the function, though a subpackage has the same name.

    After importing `vidnb.download.…` the import system binds the subpackage to that name in its
    parent (Python reference, section 5.4.2); `from vidnb.download.… import …` does not need that.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "download" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
