"""What a whole file must pass before it is published; every check may block on the disk."""

import logging

from vidnb.download.digests import Digests
from vidnb.download.error_messages import cut_short, sent_a_page, wrong_digest
from vidnb.download.part_file import PartFile
from vidnb.download.planner.events import Complete
from vidnb.download.planner.progress import format_bytes
from vidnb.download.request import DownloadRequest
from vidnb.http.ranges import ByteRange
from vidnb.http.urls import redact
from vidnb.media import sniff

__all__ = ["HEAD_BYTES", "check"]

HEAD_BYTES = 4096
"""What is looked at to tell a video from a page."""

logger = logging.getLogger(__name__)


def check(request: DownloadRequest, part: PartFile, digests: Digests, end: Complete) -> None:
    """Raise what is wrong with the whole file; `digests` cover it afterwards.

    `ChecksumMismatch`, `NotAVideo`, `TransportError`; `OSError` as the disk raises it.
    """
    total_bytes = end.validators.total_bytes or 0
    part.trim(total_bytes)
    digests.catch_up(part, total_bytes)
    checksum = request.checksum
    if checksum is not None:
        actual = digests.hexdigest(checksum.algorithm)
        if actual != checksum.digest:
            raise wrong_digest(request.url, checksum.algorithm, checksum.digest, actual)
    if request.check_video:
        _check_content(request, part, end)
    if not end.is_size_verified:
        logger.warning(
            "%s told no length: the %s it sent are taken to be all (size verified: False).",
            redact(request.url),
            format_bytes(total_bytes),
        )


def _check_content(request: DownloadRequest, part: PartFile, end: Complete) -> None:
    total_bytes = end.validators.total_bytes or 0
    sniffed = sniff.sniff(_read(part, ByteRange(0, min(total_bytes, HEAD_BYTES))))
    if sniffed.verdict == "page":
        raise sent_a_page(request.url, sniffed.title)
    layout = _scan(part, total_bytes)
    if not (layout.is_mp4 and layout.truncated):
        return
    if not end.is_size_verified:
        raise cut_short(request.url, layout.missing_part)
    logger.warning(
        "%s is truncated at its origin: %s; it will not play to its end.",
        redact(request.url),
        layout.missing_part,
    )


def _read(part: PartFile, byte_range: ByteRange) -> bytes:
    return b"".join(part.read(byte_range))


def _scan(part: PartFile, total_bytes: int) -> sniff.Layout:
    """Walk the boxes of an MP4: some dozen bytes each, however long the film."""
    scan = sniff.BoxScanner(total_bytes)
    while (byte_range := scan.next_range()) is not None:
        scan.feed(_read(part, byte_range))
    return scan.layout()
