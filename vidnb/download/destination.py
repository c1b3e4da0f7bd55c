"""`Destination`: finds the finished file of a request, and publishes a new one.

Every call may block on the disk and raises its `OSError`; the download calls it in a thread.
"""

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vidnb.download.error_messages import read_error
from vidnb.download.part_file import DiskSpace, PartFile, RecordStore, hash_file
from vidnb.download.planner.journal import Journal, Record, is_hash_of
from vidnb.download.planner.naming import file_name, numbered
from vidnb.download.request import DownloadRequest
from vidnb.download.stale_files import sweep
from vidnb.errors import StorageError
from vidnb.http.headers import parse_media_type
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.http.validators import Validators
from vidnb.io.regular_file import (
    IrregularFileError,
    is_encodable,
    printable,
    resolve_target,
)
from vidnb.media import sniff

__all__ = ["FOLDER", "MAX_SAME_NAMES", "Destination", "own_folder", "part_key"]

FOLDER = ".vidnb"
"""The folder beside the files for part files and records."""

MAX_SAME_NAMES = 1000

logger = logging.getLogger(__name__)


class Destination:
    """The file of one request, the folder and the key of its files in `.vidnb`, and its record."""

    def __init__(self, request: DownloadRequest) -> None:
        self._request = request
        self._file = request.target
        self.folder = request.folder / FOLDER  # until `find_finished`, which may block
        self.key = _key(request, request.target)
        self._records = RecordStore(self.folder)

    def _place_beside(self, file: Path) -> None:
        """Use the folder for part files that is on the same file system as `file`."""
        self.folder = own_folder(file.parent)

    def disk_space(self, part: PartFile) -> DiskSpace:
        """Return the disk space for the part file."""
        return self._records.room(part)

    def find_finished(self) -> Record | None:
        """Return the record of the finished file, if it is unchanged since it was published.

        Call it first: it finds where the file is stored. `StorageError` where `if_exists` forbids a
        download, `OSError` for an unusable path, beside which nothing was created then.
        """
        request = self._request
        self._locate()
        if request.if_exists == "error" and self._file is not None and self._file.exists():
            raise _exists(request, request.target or self._file)
        if request.if_exists == "overwrite":
            return None
        record = self._records.load(self.key)
        if record is None or not is_hash_of(record.url_hash, request.url):
            return self._match_by_digest()
        path = self._path(record)
        if not _is_unchanged(path, record):
            return self._match_by_digest()
        # A crash of the machine may have lost data that was not yet on the disk: read it.
        if not record.is_of_this_boot and self._digest(path, "sha256") != record.sha256:
            return None
        if request.if_exists == "error":
            raise _exists(request, path)
        # The user may have moved it to another disk and left a link.
        self._place_beside(resolve_target(path))
        return record

    def _locate(self) -> None:
        """Find the file that is written and the folders; create the file's own."""
        request = self._request
        if request.target is not None:
            if request.target.name == FOLDER:
                raise IsADirectoryError(errno.EISDIR, "it is a folder", str(request.target))
            self._file = resolve_target(request.target)
            self.key = _key(request, self._file)
        self._place_beside(self._file or request.folder / FOLDER)
        self._records = RecordStore(self.folder)
        self.folder.parent.mkdir(parents=True, exist_ok=True)  # reports an unusable path
        if self._file is not None:
            resolve_target(self._file)  # in its folder, if that is new: reports an unusable name

    def _path(self, record: Record) -> Path:
        return self._file or self._request.folder / record.name

    def _match_by_digest(self) -> Record | None:
        """Return a record for a file that vidnb did not write, if it has the expected digest."""
        target, checksum = self._file, self._request.checksum
        if target is None or checksum is None or not target.is_file():
            return None
        if self._digest(target, checksum.algorithm) != checksum.digest:
            return None
        status = target.stat()
        sha256 = self._digest(target, "sha256")
        return Record(
            "", target.name, Validators(), status.st_size, status.st_mtime_ns, sha256, None
        )

    def is_unchanged(self, record: Record) -> bool:
        """Whether the finished file is still the one that was published."""
        return _is_unchanged(self._path(record), record)

    def read_head(self, record: Record, max_bytes: int) -> bytes:
        """Return the first bytes of the finished file."""
        path = self._path(record)
        with self._reading(path), path.open("rb") as file:
            return file.read(max_bytes)

    def _digest(self, path: Path, algorithm: str) -> str:
        with self._reading(path):
            return hash_file(path, algorithm)

    @contextlib.contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Turn `OSError` into an error that names the file and says that reading it failed."""
        try:
            yield
        except OSError as error:
            raise read_error(error, self._request.url, path) from error

    def has_digest(self, record: Record) -> bool:
        """Whether the finished file has the expected digest."""
        checksum = self._request.checksum
        if checksum is None:
            return False
        if checksum.algorithm == "sha256":
            return record.sha256 == checksum.digest
        path = self._path(record)
        return self._digest(path, checksum.algorithm) == checksum.digest

    def open_part(self) -> tuple[PartFile, Journal | None]:
        """Return the part file of this request, locked, and its journal if it can be resumed."""
        sweep(self.folder)
        part = PartFile(self.folder, self.key)
        try:
            journal = part.load()
            if journal is None or not is_hash_of(journal.url_hash, self._request.url):
                part.reset()
                journal = None
        except BaseException:
            part.close(keep=True)
            raise
        return part, journal

    def publish(
        self, part: PartFile, record: Record, disposition: str | None, final_url: str
    ) -> Path:
        """Move the complete part file to its final name and save its record; return the path.

        The name and the modification time in `record` are filled in here. A request without a file
        name takes it from `disposition`, the Content-Disposition, or `final_url`.
        """
        request = self._request
        if request.target is not None:
            try:
                return self._publish_as(
                    part, record, request.target, may_replace=request.if_exists != "error"
                )
            except FileExistsError:
                raise _exists(request, request.target) from None
        media_type = parse_media_type(record.media_type or "")
        head = b"".join(part.read(ByteRange(0, min(record.size_bytes, sniff.SNIFF_BYTES))))
        name = file_name(disposition, final_url, media_type, sniff.sniff(head).kind)
        return self._publish_unnamed(part, record, _encodable(name))

    def _publish_as(self, part: PartFile, record: Record, path: Path, *, may_replace: bool) -> Path:
        # The path again: another program may have made something else of it during the download.
        file = resolve_target(path)
        # The record first: after a kill between the two the next run finds a complete part file and
        # publishes it. In the other order it would find an unknown file and download it again.
        finished = replace(record, name=path.name, modified_ns=part.modified_ns())
        failure = self._save_record(finished)
        status = part.publish(file, may_replace=may_replace)
        if status.st_mtime_ns != finished.modified_ns:  # set by a file server
            failure = self._save_record(replace(finished, modified_ns=status.st_mtime_ns))
        if failure is not None:  # the file is complete; only the next run is slower
            reason = failure.strerror or type(failure).__name__
            logger.warning("The record of %s was not saved: %s", printable(path), reason)
        return path

    def _save_record(self, record: Record) -> OSError | None:
        try:
            self._records.save(self.key, record)
        except OSError as error:
            return error
        return None

    def _publish_unnamed(self, part: PartFile, record: Record, name: str) -> Path:
        """Publish under the origin's name, never over a file that is not of this download."""
        request = self._request
        earlier = self._records.load(self.key)
        if (
            request.if_exists != "error"
            and earlier is not None
            and is_hash_of(earlier.url_hash, request.url)
        ):
            path = request.folder / earlier.name
            if _is_unchanged(path, earlier):
                return self._publish_as(part, record, path, may_replace=True)
        if request.if_exists == "overwrite":
            with contextlib.suppress(IrregularFileError):  # a folder, a pipe, …: another name
                return self._publish_as(part, record, request.folder / name, may_replace=True)
        for number in range(MAX_SAME_NAMES):
            path = request.folder / numbered(name, number)
            if not os.path.lexists(path):
                with contextlib.suppress(FileExistsError):  # created just now by another process
                    return self._publish_as(part, record, path, may_replace=False)
            if request.if_exists == "error":
                raise _exists(request, path)
        raise StorageError(
            f"{printable(request.folder / name)} and {MAX_SAME_NAMES - 1} more files of this name"
            f" exist; {redact(request.url)} was not saved; pass a file name.",
            url=request.url,
        )


def own_folder(parent: Path) -> Path:
    """Return the folder for vidnb's own files beside the files of `parent`; it may not exist.

    Its mode is 0700, so in a folder that several users share each has one.
    """
    folder = parent / FOLDER
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        return folder.with_name(f"{FOLDER}-{os.geteuid()}")
    return folder


def _is_unchanged(path: Path, record: Record) -> bool:
    """Whether a file has the size and the modification time of its record."""
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (record.size_bytes, record.modified_ns)


def _exists(request: DownloadRequest, path: Path) -> StorageError:
    return StorageError(
        f"{printable(path)} exists and if_exists='error' forbids to replace it;"
        f" {redact(request.url)} was not saved; choose another name or another if_exists.",
        url=request.url,
    )


def _key(request: DownloadRequest, file: Path | None) -> str:
    """Return the name of the files in `.vidnb`: by the file, or by the URL without one."""
    if file is not None:
        readable, text = file.name, f"name {file.name}"
    else:
        readable, text = file_name(None, request.url, None), f"url {request.url}"
    return part_key(readable, text)


def part_key(readable: str, text: str) -> str:
    """Return a name for files in `.vidnb`: a readable part, and a digest of what they stand for."""
    shown = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in readable)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{shown.lstrip('.')[:40]}-{digest[:16]}"


def _encodable(name: str) -> str:
    """Return a name in characters that the file system's encoding has."""
    return "".join(c if is_encodable(c) else "_" for c in name)
