"""What journals and records say, and how it is written down.

A journal says which spans of which version a part file holds, a record which version a published
file is. Each is a line of JSON under a checksum, so that a torn one is nothing; each carries its
format and the boot of the machine it was written in. A journal file has two slots that are written
by turns: a kill at any instant tears the newer one at most, and the older one stands.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from vidnb.http.headers import parse_etag
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

__all__ = ["FORMAT", "SLOT_BYTES", "Journal", "Record", "newest_journal"]

FORMAT = 1
SLOT_BYTES = 2**16
"""A journal longer than this has no room in its file."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What a part file holds: `stored` bytes of one `version` of `url`."""

    url: str
    version: Validators
    stored: ByteRangeSet

    def dump(self, number: int, boot: str) -> bytes:
        """Return the journal as bytes: its format, `boot` and `number`, and a checksum over all."""
        byte_ranges = [[byte_range.start, byte_range.stop] for byte_range in self.stored]
        version = _version_out(self.version)
        return _seal(
            boot, {"number": number, "url": self.url, "version": version, "stored": byte_ranges}
        )

    @classmethod
    def load(cls, data: bytes, boot: str) -> "tuple[int, Journal] | None":
        """Read a journal and its number; None if it is torn, of another format or boot."""
        fields = _unseal(data)
        if fields is None or fields["boot"] != boot:
            return None
        with contextlib.suppress(KeyError, TypeError, ValueError):
            stored = ByteRangeSet(ByteRange(start, stop) for start, stop in fields["stored"])
            journal = cls(str(fields["url"]), _version_in(fields["version"]), stored)
            return int(fields["number"]), journal
        return None


def newest_journal(data: bytes, boot: str) -> tuple[int, Journal] | None:
    """Read the newer journal of a file, and its number; None if neither slot holds a whole one."""
    slots = (data[:SLOT_BYTES], data[SLOT_BYTES:])
    whole = (Journal.load(slot, boot) for slot in slots)
    return max(filter(None, whole), key=lambda pair: pair[0], default=None)


@dataclass(frozen=True, slots=True)
class Record:
    """What a published file is: the version of `url` that stands under `name` (B, ns)."""

    url: str
    final_url: str
    name: str
    version: Validators
    size_bytes: int
    modified_ns: int
    sha256: str
    media_type: str | None
    is_of_this_boot: bool = True

    def dump(self, boot: str) -> bytes:
        """Return the record as bytes, sealed like a journal."""
        return _seal(
            boot,
            {
                "url": self.url,
                "final_url": self.final_url,
                "name": self.name,
                "version": _version_out(self.version),
                "size_bytes": self.size_bytes,
                "modified_ns": self.modified_ns,
                "sha256": self.sha256,
                "media_type": self.media_type,
            },
        )

    @classmethod
    def load(cls, data: bytes, boot: str) -> "Record | None":
        """Read a record; None for one that is torn or of another format.

        `is_of_this_boot` tells whether it was written in `boot`.
        """
        fields = _unseal(data)
        if fields is None:
            return None
        with contextlib.suppress(KeyError, TypeError, ValueError):
            media_type = fields["media_type"]
            return cls(
                url=str(fields["url"]),
                final_url=str(fields["final_url"]),
                name=str(fields["name"]),
                version=_version_in(fields["version"]),
                size_bytes=int(fields["size_bytes"]),
                modified_ns=int(fields["modified_ns"]),
                sha256=str(fields["sha256"]),
                media_type=None if media_type is None else str(media_type),
                is_of_this_boot=fields["boot"] == boot,
            )
        return None


def _seal(boot: str, fields: dict[str, Any]) -> bytes:
    body = json.dumps({"format": FORMAT, "boot": boot, **fields}, separators=(",", ":"))
    return f"{hashlib.sha256(body.encode()).hexdigest()} {body}\n".encode()


def _unseal(data: bytes) -> dict[str, Any] | None:
    seal, _, body = data.partition(b"\n")[0].partition(b" ")
    if hashlib.sha256(body).hexdigest().encode() != seal:
        return None
    with contextlib.suppress(ValueError):
        fields = json.loads(body)
        if isinstance(fields, dict) and fields.get("format") == FORMAT and "boot" in fields:
            return fields
    return None


def _version_out(version: Validators) -> list[Any]:
    etag = None if version.etag is None else str(version.etag)
    return [etag, version.last_modified_s, version.date_is_strong, version.total_bytes]


def _version_in(fields: Any) -> Validators:
    etag, modified_s, is_strong, total_bytes = fields
    if not all(value is None or isinstance(value, int) for value in (modified_s, total_bytes)):
        raise ValueError("no version")
    return Validators(parse_etag(etag or ""), modified_s, bool(is_strong), total_bytes)
