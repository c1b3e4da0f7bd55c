"""Bytes for a page by the kernel's own channel: the road that is left where no other is open.

The page asks for one span after the other and gets each as a binary message. The channel is read
between two cells only, and carries everything else of the notebook too: so spans are small.
"""

from collections.abc import Mapping
from typing import Any, Final

from vidnb.core.spans import Span
from vidnb.engine.sources import Source
from vidnb.io import loop

__all__ = ["MOST_SPAN_BYTES", "answer_span"]

MOST_SPAN_BYTES: Final = 4 * 1024 * 1024
"""The most in one message."""

_PATIENCE_S: Final = 10.0


def answer_span(
    sources: Mapping[str, Source], content: Mapping[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the answer to a page that asks for bytes `start` to `stop` of what it calls `of`.

    With the bytes come the whole size (B) and a tag: another tag, another file. Where there are no
    bytes, there is a `reason`. Blocks while it reads; never on the server's own thread.
    """
    said = {"number": content.get("number")}
    source = sources.get(str(content.get("of")))
    start, stop = content.get("start"), content.get("stop")
    if source is None or not isinstance(start, int) or not isinstance(stop, int):
        return {**said, "reason": "there is nothing of this name"}, []
    if not 0 <= start <= stop or stop - start > MOST_SPAN_BYTES:
        return {**said, "reason": "that span is none"}, []
    try:
        data, size_bytes, tag = loop.server.run(_read(source, start, stop), timeout_s=_PATIENCE_S)
    except (OSError, ValueError, RuntimeError) as error:  # TimeoutError is an OSError
        reason = getattr(error, "strerror", None) or str(error) or "it took too long"
        return {**said, "reason": f"it cannot be read ({reason})"}, []
    known = {"size_bytes": size_bytes, "tag": tag, "media_type": source.media_type}
    return {**said, "start": start, **known}, [data]


async def _read(source: Source, start: int, stop: int) -> tuple[bytes, int, str]:
    version = await source.version()
    try:
        span = Span(min(start, version.size_bytes), min(stop, version.size_bytes))
        data = bytes(await version.read(span)) if span else b""
        if len(data) != span.size_bytes or not version.intact():
            raise ValueError("it changed while it was read")
        return data, version.size_bytes, version.validator.opaque
    finally:
        version.close()
