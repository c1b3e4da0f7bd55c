"""Video in notebooks: fetch it safely, look at it seekably, hold its bytes, in any notebook.

    import vidnb

    result = vidnb.download("https://example.org/film.mp4")   # whole and checked, or an error
    vidnb.play(result.path)                                   # seeks, embeds nothing

Names are loaded when they are first used, so `import vidnb` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidnb.core.retry import RetryPolicy
    from vidnb.engine.opened import open_source
    from vidnb.engine.order import DownloadResult
    from vidnb.engine.sample import sample
    from vidnb.engine.server import Served
    from vidnb.engine.serving import serve
    from vidnb.errors import (
        AddressRefused,
        ChecksumMismatch,
        MissingExtra,
        NotAVideo,
        OriginMisbehaved,
        PlayerTimeout,
        ServeError,
        SourceChanged,
        StatusError,
        StorageError,
        TooLarge,
        TransferError,
        TransferTimeout,
        TransportError,
        Unreachable,
        VidnbError,
    )
    from vidnb.notebook.compare import Comparison, compare
    from vidnb.notebook.helpers import download, download_async, start_download
    from vidnb.notebook.job import DownloadJob
    from vidnb.notebook.player import Player, play
    from vidnb.seed import get_video_data, save_video_from_url

    open = open_source  # noqa: A001 - see `__getattr__`

__all__ = [
    "AddressRefused",
    "ChecksumMismatch",
    "Comparison",
    "DownloadJob",
    "DownloadResult",
    "MissingExtra",
    "NotAVideo",
    "OriginMisbehaved",
    "Player",
    "PlayerTimeout",
    "RetryPolicy",
    "ServeError",
    "Served",
    "SourceChanged",
    "StatusError",
    "StorageError",
    "TooLarge",
    "TransferError",
    "TransferTimeout",
    "TransportError",
    "Unreachable",
    "VidnbError",
    "compare",
    "download",
    "download_async",
    "get_video_data",
    "play",
    "sample",
    "save_video_from_url",
    "serve",
    "start_download",
]

__version__ = "0.1.0"

_HOME = {
    "Comparison": "vidnb.notebook.compare",
    "DownloadJob": "vidnb.notebook.job",
    "DownloadResult": "vidnb.engine.order",
    "Player": "vidnb.notebook.player",
    "RetryPolicy": "vidnb.core.retry",
    "Served": "vidnb.engine.server",
    "compare": "vidnb.notebook.compare",
    "download": "vidnb.notebook.helpers",
    "download_async": "vidnb.notebook.helpers",
    "get_video_data": "vidnb.seed",
    "play": "vidnb.notebook.player",
    "sample": "vidnb.engine.sample",
    "save_video_from_url": "vidnb.seed",
    "serve": "vidnb.engine.serving",
    "start_download": "vidnb.notebook.helpers",
}


def __getattr__(name: str) -> Any:
    if name == "open":
        # Not in `__all__`: `from vidnb import *` would take the built-in one away.
        return import_module("vidnb.engine.opened").open_source
    if name not in __all__:
        raise AttributeError(f"module 'vidnb' has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "vidnb.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "open"])
