"""The final names: what stands under them already, and how a whole file gets there.

All of it may block on the disk and raises `OSError` as the disk does; the download calls it in a
thread.
"""

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vidnb.download.error_messages import unreadable
from vidnb.download.part_file import DiskSpace, PartFile, RecordStore, hash_file
from vidnb.download.planner.journal import Journal, Record
from vidnb.download.planner.naming import file_name
from vidnb.download.request import DownloadRequest
from vidnb.download.stale_files import sweep
from vidnb.errors import StorageError
from vidnb.http.headers import parse_media_type
from vidnb.http.urls import redact
from vidnb.http.validators import Validators

__all__ = ["FOLDER", "Destination"]

FOLDER = ".vidnb"
"""The folder beside the files where unfinished bytes and records lie."""

_MOST_NUMBERS = 1000

logger = logging.getLogger(__name__)


class Destination:
    """The place of one order: its folder, the key of its files in there, its record."""

    def __init__(self, request: DownloadRequest) -> None:
        self._request = request
        self.folder = request.folder / FOLDER
        self.key = _key(request)
        self._hold = RecordStore(self.folder)

    def room(self, part: PartFile) -> DiskSpace:
        """Return what the disk takes for the part file."""
        return self._hold.room(part)

    def look(self) -> Record | None:
        """Return the record of the finished file, if it still stands as it was published.

        `StorageError` where the order forbids to go on, `OSError` where the path does.
        """
        request = self._request
        request.folder.mkdir(parents=True, exist_ok=True)  # first: it makes a bad name show itself
        if request.target is not None and (
            request.target.is_dir() or request.target.name == FOLDER
        ):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(request.target))
        if request.if_exists == "error" and request.target is not None and request.target.exists():
            raise _exists(request, request.target)
        if request.if_exists == "overwrite":
            return None
        record = self._hold.load(self.key)
        if record is None or record.url != request.url:
            return self._recognise()
        path = request.folder / record.name
        if not _stands(path, record):
            return self._recognise()
        # A crash of the machine may have lost what the disk had not yet: look at the bytes.
        if not record.is_of_this_boot and self._digest(path, "sha256") != record.sha256:
            return None
        if request.if_exists == "error":
            raise _exists(request, path)
        return record

    def _recognise(self) -> Record | None:
        """Know a file that came some other way by the digest the caller gave."""
        target, checksum = self._request.target, self._request.checksum
        if target is None or checksum is None or not target.is_file():
            return None
        if self._digest(target, checksum.algorithm) != checksum.digest:
            return None
        url = self._request.url
        status = target.stat()
        sha256 = self._digest(target, "sha256")
        return Record(
            url, url, target.name, Validators(), status.st_size, status.st_mtime_ns, sha256, None
        )

    def stands(self, record: Record) -> bool:
        """Tell whether the finished file is still the one that was published."""
        return _stands(self._request.folder / record.name, record)

    def read_head(self, record: Record, most_bytes: int) -> bytes:
        """Return the first bytes of the finished file."""
        path = self._request.folder / record.name
        with self._reading(path), path.open("rb") as file:
            return file.read(most_bytes)

    def _digest(self, path: Path, algorithm: str) -> str:
        with self._reading(path):
            return hash_file(path, algorithm)

    @contextlib.contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Say that it was reading what failed: nothing was to be written yet."""
        try:
            yield
        except OSError as error:
            raise unreadable(error, self._request.url, path) from error

    def has_digest(self, record: Record) -> bool:
        """Tell whether the finished file has the digest the caller asked for."""
        checksum = self._request.checksum
        if checksum is None:
            return False
        if checksum.algorithm == "sha256":
            return record.sha256 == checksum.digest
        path = self._request.folder / record.name
        return self._digest(path, checksum.algorithm) == checksum.digest

    def open_part(self) -> tuple[PartFile, Journal | None]:
        """Return this order's part file, locked, and what of this order it holds already."""
        sweep(self.folder)
        part = PartFile(self.folder, self.key)
        try:
            journal = part.load()
            if journal is None or journal.url != self._request.url:
                part.reset()
                journal = None
        except BaseException:
            part.close(keep=True)
            raise
        return part, journal

    def publish(self, part: PartFile, record: Record, disposition: str | None) -> Path:
        """Put the whole part under its final name and record what it is; return the path.

        `record` lacks the name and the time, which are only known now.
        """
        request = self._request
        if request.target is not None:
            try:
                return self._put(
                    part, record, request.target, may_replace=request.if_exists != "error"
                )
            except FileExistsError:
                raise _exists(request, request.target) from None
        media_type = parse_media_type(record.media_type or "")
        return self._publish_new(part, record, file_name(disposition, record.final_url, media_type))

    def _put(self, part: PartFile, record: Record, path: Path, *, may_replace: bool) -> Path:
        # The record first: killed between the two, a run finds the part whole and publishes it;
        # the other way round it would find a file it does not know, and fetch it anew.
        finished = replace(record, name=path.name, modified_ns=part.modified_ns())
        failure = self._remember(finished)
        # A link stays a link: what it points at is replaced.
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        status = part.publish(place, may_replace=may_replace)
        if status.st_mtime_ns != finished.modified_ns:  # the time of a server, told late
            failure = self._remember(replace(finished, modified_ns=status.st_mtime_ns))
        if failure is not None:  # the file is whole and in its place; only the next run is slower
            logger.warning("%s is not remembered: %s", path, failure.strerror or failure)
        return path

    def _remember(self, record: Record) -> OSError | None:
        try:
            self._hold.save(self.key, record)
        except OSError as error:
            return error
        return None

    def _publish_new(self, part: PartFile, record: Record, name: str) -> Path:
        """Publish under a name nobody chose, so never over a file that is not this download's."""
        request = self._request
        earlier = self._hold.load(self.key)
        if request.if_exists != "error" and earlier is not None and earlier.url == request.url:
            path = request.folder / earlier.name
            if _stands(path, earlier):
                return self._put(part, record, path, may_replace=True)
        if request.if_exists == "overwrite":
            return self._put(part, record, request.folder / name, may_replace=True)
        for number in range(_MOST_NUMBERS):
            path = request.folder / (name if not number else _numbered(name, number))
            if not os.path.lexists(path):
                with contextlib.suppress(FileExistsError):  # made just now by somebody else
                    return self._put(part, record, path, may_replace=False)
            if request.if_exists == "error":
                raise _exists(request, path)
        raise StorageError(
            f"{request.folder / name} and {_MOST_NUMBERS - 1} more files of this name exist already;"
            f" {redact(request.url)} was not saved; name the file yourself.",
            url=request.url,
        )


def _stands(path: Path, record: Record) -> bool:
    """Tell whether the file is still the one that was published; a changed one is its owner's."""
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.modified_ns)


def _numbered(name: str, number: int) -> str:
    path = Path(name)
    return f"{path.stem} ({number}){path.suffix}"


def _exists(request: DownloadRequest, path: Path) -> StorageError:
    return StorageError(
        f"{path} exists already and if_exists='error' asks to leave it;"
        f" {redact(request.url)} was not saved; choose another name or another if_exists.",
        url=request.url,
    )


def _key(request: DownloadRequest) -> str:
    """Name this order's files: by its target, or by its URL where the origin will name it."""
    if request.target is not None:
        readable, text = request.target.name, f"name {request.target.name}"
    else:
        readable, text = file_name(None, request.url, None), f"url {request.url}"
    shown = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in readable)
    return f"{shown.lstrip('.')[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
