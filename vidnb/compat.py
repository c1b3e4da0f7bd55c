"""The original two-function API: both functions log errors and never raise them.

The messages go to the logger `vidnb.compat`, a child of `vidnb`.
"""

import logging
from dataclasses import replace
from pathlib import Path

from vidnb.download.planner.retry import RetryPolicy
from vidnb.download.registry import download
from vidnb.download.request import DownloadRequest, local_path
from vidnb.download.status import DownloadHandle
from vidnb.errors import MissingExtra, StorageError, TransferError
from vidnb.io.loop import transfers
from vidnb.io.regular_file import StrPath, read_all

__all__ = ["get_video_data", "save_video_from_url"]

logger = logging.getLogger(__name__)

# There is no progress display, so a refused connection is reported within about two seconds. A
# download that makes progress is resumed any number of times.
_RETRY = RetryPolicy(attempts=3, base_delay_s=0.3)


async def save_video_from_url(url: str, save_path: StrPath) -> Path | None:
    """Download `url` to the file `save_path` and return its `Path`; None if that failed.

    The file is complete, all of its bytes (B), or is not created. Missing parent folders are
    created. A network or file error, an HTTP error status (RFC 9110 section 15), a URL that is not
    allowed or an empty body is logged (logger `vidnb.compat`), the result is None, and an earlier
    file at `save_path` is unchanged.
    """
    try:
        path = local_path(save_path)
        request = DownloadRequest.of(url, path, check_video=False, retry=_RETRY)
        # The path is always the file itself here, never a folder.
        target = request.target or request.folder
        request = replace(request, folder=target.parent, target=target)
        await transfers.arun(download(request, DownloadHandle()))
    except StorageError as error:
        logger.error("file fault: %s", error)  # noqa: TRY400 - the message needs no traceback
        return None
    except (TransferError, MissingExtra) as error:
        logger.error("network fault: %s", error)  # noqa: TRY400 - the message needs no traceback
        return None
    except ValueError as error:
        logger.error("file fault: %s", error)  # noqa: TRY400 - the message needs no traceback
        return None
    except Exception as error:  # noqa: BLE001 - it never raises, whatever the arguments
        _log_unexpected(error)
        return None
    return Path(path)


def get_video_data(file_name: StrPath) -> bytes | None:
    """Return all bytes of a file; None, with a log message, if it is missing or unreadable.

    The result has the size of the file (B), in memory. The name must be that of a regular file: a
    folder, a pipe or a device is an error and never blocks. Errors are logged (`vidnb.compat`).
    """
    try:
        return read_all(local_path(file_name))
    except (StorageError, ValueError) as error:
        logger.error("file fault: %s", error)  # noqa: TRY400 - the message needs no traceback
        return None
    except Exception as error:  # noqa: BLE001 - it never raises, whatever the arguments
        _log_unexpected(error)
        return None


def _log_unexpected(error: Exception) -> None:
    """Log an error that is not of vidnb's tree by its type: its text may be anything."""
    logger.error("unexpected fault: %s; its traceback has the level DEBUG", type(error).__name__)
    logger.debug("the traceback of the unexpected fault", exc_info=error)
