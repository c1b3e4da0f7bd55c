"""What a whole file must pass before it is published; every check may block on the disk."""

import logging

from vidnb.core import container
from vidnb.core.address import redact
from vidnb.core.alphabet import Complete
from vidnb.core.progress import format_bytes
from vidnb.core.spans import Span
from vidnb.engine.digests import Digests
from vidnb.engine.order import Order
from vidnb.engine.sentences import cut_short, sent_a_page, wrong_digest
from vidnb.io.files import PartFile

__all__ = ["HEAD_BYTES", "check"]

HEAD_BYTES = 4096
"""What is looked at to tell a video from a page."""

logger = logging.getLogger(__name__)


def check(order: Order, part: PartFile, digests: Digests, end: Complete) -> None:
    """Raise what is wrong with the whole file; `digests` cover it afterwards.

    `ChecksumMismatch`, `NotAVideo`, `TransportError`; `OSError` as the disk raises it.
    """
    total_bytes = end.version.total_bytes or 0
    part.trim(total_bytes)
    digests.catch_up(part, total_bytes)
    checksum = order.checksum
    if checksum is not None:
        actual = digests.hexdigest(checksum.algorithm)
        if actual != checksum.digest:
            raise wrong_digest(order.url, checksum.algorithm, checksum.digest, actual)
    if order.check_video:
        _check_content(order, part, end)
    if not end.is_size_verified:
        logger.warning(
            "%s told no length: the %s it sent are taken to be all (size verified: False).",
            redact(order.url),
            format_bytes(total_bytes),
        )


def _check_content(order: Order, part: PartFile, end: Complete) -> None:
    total_bytes = end.version.total_bytes or 0
    sniffed = container.sniff(_read(part, Span(0, min(total_bytes, HEAD_BYTES))))
    if sniffed.verdict == "page":
        raise sent_a_page(order.url, sniffed.title)
    layout = _scan(part, total_bytes)
    if not (layout.is_mp4 and layout.truncated):
        return
    if not end.is_size_verified:
        raise cut_short(order.url, layout.what_is_missing)
    logger.warning(
        "%s is truncated at its origin: %s; it will not play to its end.",
        redact(order.url),
        layout.what_is_missing,
    )


def _read(part: PartFile, span: Span) -> bytes:
    return b"".join(part.read(span))


def _scan(part: PartFile, total_bytes: int) -> container.Layout:
    """Walk the boxes of an MP4: some dozen bytes each, however long the film."""
    scan = container.BoxScan(total_bytes)
    while (span := scan.wants()) is not None:
        scan.feed(_read(part, span))
    return scan.layout()
