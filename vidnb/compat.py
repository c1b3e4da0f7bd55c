"""The two functions vidnb grew from, with their exact contract: they log and never raise."""

import logging
from dataclasses import replace
from pathlib import Path

from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, PathLike
from vidnb.download.status import DownloadHandle
from vidnb.errors import StorageError, TransferError
from vidnb.io.loop import transfers
from vidnb.io.regular_file import read_all

__all__ = ["get_video_data", "save_video_from_url"]

logger = logging.getLogger(__name__)

# Nobody sees a bar here, so the answer comes soon: a refused connection is told within a second
# or two. A download that makes progress is resumed as often as it takes.
_RETRY = RetryPolicy(attempts=3, base_delay_s=0.3)


async def save_video_from_url(url: str, save_path: PathLike) -> Path | None:
    """Download `url` to the file `save_path` and return its `Path`; None if that failed.

    Every byte (B) of the file is there, or no file is. Parent folders are made. On a network or
    file fault, an HTTP error (RFC 9110 section 15), a refused URL or an empty body the fault is
    logged (logger `vidnb.compat`), the answer is None, and nothing new stands under `save_path`: a
    file that was there before is still there.
    """
    try:
        request = DownloadRequest.of(url, save_path, check_video=False, retry=_RETRY)
        # The path is always the file itself here, never a folder to put one into.
        place = request.target or request.folder
        request = replace(request, folder=place.parent, target=place)
        await transfers.arun(download(request, DownloadHandle()))
    except StorageError as error:
        logger.error("file fault: %s", error)  # noqa: TRY400 - the sentence says it all
        return None
    except TransferError as error:
        logger.error("network fault: %s", error)  # noqa: TRY400 - the sentence says it all
        return None
    except ValueError as error:
        logger.error("file fault: %s", error)  # noqa: TRY400 - the sentence says it all
        return None
    return Path(save_path)


def get_video_data(file_name: PathLike) -> bytes | None:
    """Return all bytes of a file; None, with a log line, if it is missing, unreadable or no file.

    The size of the answer is the file's (B); it is held in memory whole. What stands behind the
    name must be a regular file: a folder, a pipe or a device is refused without waiting for it.
    """
    try:
        return read_all(file_name)
    except (StorageError, OSError, ValueError) as error:
        logger.error("file fault: %s", error)  # noqa: TRY400 - the sentence says it all
        return None
