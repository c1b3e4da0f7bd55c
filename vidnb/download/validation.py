"""Validation of a complete file before it is published; every check may block on the disk."""

import logging

from vidnb.download.digests import Digests
from vidnb.download.error_messages import checksum_error, head_error, incomplete_error
from vidnb.download.part_file import PartFile
from vidnb.download.planner.events import Complete
from vidnb.download.planner.progress import format_bytes
from vidnb.download.request import DownloadRequest
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.media.sniff import BoxScanner, Layout, SniffResult, sniff

__all__ = ["HEAD_BYTES", "is_refused", "validate"]

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
    checksum = request.checksum
    if checksum is not None:
        actual = digests.hexdigest(checksum.algorithm)
        if actual != checksum.digest:
            raise checksum_error(request.url, checksum.algorithm, checksum.digest, actual)
    if request.check_video or end.claim is not None:
        _validate_head(request, part, end)
    if request.check_video:
        _validate_boxes(request, part, end)
    if not end.is_size_verified:
        logger.warning(
            "%s sent no length; the %s received are taken as the whole file (size not verified).",
            redact(request.url),
            format_bytes(total_bytes),
        )


def _validate_head(request: DownloadRequest, part: PartFile, end: Complete) -> None:
    total_bytes = end.validators.total_bytes or 0
    sniffed = sniff(_read(part, ByteRange(0, min(total_bytes, HEAD_BYTES))))
    if is_refused(sniffed, end.claim, check_video=request.check_video):
        raise head_error(request.url, sniffed, end.claim)
    if end.claim is not None:
        logger.warning(
            "%s was sent with %s, but its first bytes are those of %s: it was stored as it came.",
            redact(request.url),
            end.claim,
            sniffed.kind,
        )


def _validate_boxes(request: DownloadRequest, part: PartFile, end: Complete) -> None:
    total_bytes = end.validators.total_bytes or 0
    layout = _scan_boxes(part, total_bytes)
    if not (layout.is_mp4 and layout.truncated):
        return
    if not end.is_size_verified:
        raise incomplete_error(request.url, layout.missing_part)
    logger.warning(
        "%s is truncated at its origin: %s; it cannot be played to its end.",
        redact(request.url),
        layout.missing_part,
    )


def _read(part: PartFile, byte_range: ByteRange) -> bytes:
    return b"".join(part.read(byte_range))


def _scan_boxes(part: PartFile, total_bytes: int) -> Layout:
    """Read the box headers of an MP4: about ten bytes each, whatever the size of the file."""
    scan = BoxScanner(total_bytes)
    while (byte_range := scan.next_range()) is not None:
        scan.feed(_read(part, byte_range))
    return scan.layout()
