"""Validation of a complete file before it is published; every check may block on the disk."""

import logging
from collections.abc import Callable
from typing import TypeAlias

from vidnb.download.digests import Digests
from vidnb.download.error_messages import checksum_error, head_error, incomplete_error
from vidnb.download.part_file import PartFile
from vidnb.download.planner.events import Complete
from vidnb.download.planner.progress import format_bytes
from vidnb.download.request import DownloadRequest
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.media.sniff import BoxScanner, Layout, SniffResult, sniff

__all__ = ["HEAD_BYTES", "is_refused", "validate", "validate_content"]

Read: TypeAlias = Callable[[ByteRange], bytes]
"""Returns the bytes of a range of the file."""

HEAD_BYTES = 4096
"""The first bytes of a file, by which a video is told from a page."""

logger = logging.getLogger(__name__)


def is_refused(sniffed: SniffResult, claim: str | None, *, check_video: bool) -> bool:
    """Return whether a file that begins like this is refused.

    `claim` is that of the response (`ContentCoding`): then even without `check_video` the bytes
    must be those of a known video, since nothing else shows that they are not encoded.
    """
    is_text = sniffed.verdict in {"page", "reference"}
    return (check_video and is_text) or (claim is not None and sniffed.verdict != "video")


def validate(request: DownloadRequest, part: PartFile, digests: Digests, end: Complete) -> None:
    """Check size, digest and content; `digests` cover the whole file afterwards.

    Raises `ChecksumMismatch`, `NotAVideo`, `TransportError`, and `OSError` from the disk.
    """
    total_bytes = end.validators.total_bytes or 0
    part.trim(total_bytes)
    digests.catch_up(part, total_bytes)
    validate_content(
        request, lambda byte_range: b"".join(part.read(byte_range)), digests.hexdigest, end
    )


def validate_content(
    request: DownloadRequest, read: Read, hexdigest: Callable[[str], str], end: Complete
) -> None:
    """Check digest and content of a complete file; raises as `validate`.

    `hexdigest` returns the digest of the file by the name of its algorithm.
    """
    total_bytes = end.validators.total_bytes or 0
    checksum = request.checksum
    if checksum is not None:
        actual = hexdigest(checksum.algorithm)
        if actual != checksum.digest:
            raise checksum_error(request.url, checksum.algorithm, checksum.digest, actual)
    if request.check_video or end.claim is not None:
        _validate_head(request, read, end)
    if request.check_video:
        _validate_boxes(request, read, end)
    if not end.is_size_verified:
        logger.warning(
            "%s sent no length; the %s received are taken as the whole file (size not verified).",
            redact(request.url),
            format_bytes(total_bytes),
        )


def _validate_head(request: DownloadRequest, read: Read, end: Complete) -> None:
    total_bytes = end.validators.total_bytes or 0
    sniffed = sniff(read(ByteRange(0, min(total_bytes, HEAD_BYTES))))
    if is_refused(sniffed, end.claim, check_video=request.check_video):
        raise head_error(request.url, sniffed, end.claim)
    if end.claim is not None:
        logger.warning(
            "%s was sent with %s, but its first bytes are those of %s: it was stored as it came.",
            redact(request.url),
            end.claim,
            sniffed.kind,
        )


def _validate_boxes(request: DownloadRequest, read: Read, end: Complete) -> None:
    total_bytes = end.validators.total_bytes or 0
    layout = _scan_boxes(read, total_bytes)
    if not (layout.is_mp4 and layout.truncated):
        return
    if not end.is_size_verified:
        raise incomplete_error(request.url, layout.missing_part)
    logger.warning(
        "%s is truncated at its origin: %s; it cannot be played to its end.",
        redact(request.url),
        layout.missing_part,
    )


def _scan_boxes(read: Read, total_bytes: int) -> Layout:
    """Read the box headers of an MP4: about ten bytes each, whatever the size of the file."""
    scan = BoxScanner(total_bytes)
    while (byte_range := scan.next_range()) is not None:
        scan.feed(read(byte_range))
    return scan.layout()
