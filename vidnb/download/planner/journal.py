"""File format of journals and records.

A journal lists the stored ranges of a part file, a record describes a published file; both contain
the validators of its version. Each is a line of JSON after its SHA-256, so a torn write is
detected; each names its format and the boot ID of the machine. A journal file has two slots that
are written alternately: a kill at any time damages at most the newer one.

A URL may contain a password or a signature, and is only compared; so its salted hash is stored
(`hash_url`), and of a redirect's target nothing.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from vidnb.http.headers import parse_etag
from vidnb.http.ranges import ByteRange, ByteRangeSet
from vidnb.http.validators import Validators

__all__ = [
    "FORMAT",
    "SLOT_BYTES",
    "Journal",
    "Record",
    "hash_url",
    "is_hash_of",
    "newest_journal",
]

FORMAT = 2
"""Data of another format counts as absent: a part file starts over, a file is downloaded again."""

SLOT_BYTES = 2**16
"""The size of a slot of a journal file (B); a longer journal is not written."""


def hash_url(url: str, salt: str) -> str:
    """Return the form in which a URL is stored: `salt`, random text without a colon, and a hash."""
    return f"{salt}:{hashlib.sha256(f'{salt}:{url}'.encode()).hexdigest()}"


def is_hash_of(url_hash: str, url: str) -> bool:
    """Return whether `hash_url` made `url_hash` from this URL."""
    return url_hash == hash_url(url, url_hash.partition(":")[0])


@dataclass(frozen=True, slots=True)
class Journal:
    """The `stored` ranges of a part file, of the version of a URL with `validators`."""

    url_hash: str
    validators: Validators
    stored: ByteRangeSet

    def dump(self, number: int, boot: str) -> bytes:
        """Encode the journal; the slot with the higher `number` is the newer one."""
        byte_ranges = [[byte_range.start, byte_range.stop] for byte_range in self.stored]
        version = _dump_validators(self.validators)
        return _encode(
            boot,
            {
                "number": number,
                "url_hash": self.url_hash,
                "version": version,
                "stored": byte_ranges,
            },
        )

    @classmethod
    def load(cls, data: bytes, boot: str) -> "tuple[int, Journal] | None":
        """Decode a journal and its number; None if damaged, of another format or boot."""
        fields = _decode(data)
        if fields is None or fields["boot"] != boot:
            return None
        with contextlib.suppress(KeyError, TypeError, ValueError):
            stored = ByteRangeSet(ByteRange(start, stop) for start, stop in fields["stored"])
            journal = cls(str(fields["url_hash"]), _load_validators(fields["version"]), stored)
            return int(fields["number"]), journal
        return None


def newest_journal(data: bytes, boot: str) -> tuple[int, Journal] | None:
    """Decode the newer journal of a file and its number; None if both slots are damaged."""
    slots = (data[:SLOT_BYTES], data[SLOT_BYTES:])
    journals = (Journal.load(slot, boot) for slot in slots)
    return max(filter(None, journals), key=lambda pair: pair[0], default=None)


@dataclass(frozen=True, slots=True)
class Record:
    """A published file: the version of a URL that is stored as `name` (sizes in B, times in ns)."""

    url_hash: str
    name: str
    validators: Validators
    size_bytes: int
    modified_ns: int
    sha256: str
    media_type: str | None
    is_of_this_boot: bool = True

    def dump(self, boot: str) -> bytes:
        """Encode the record."""
        return _encode(
            boot,
            {
                "url_hash": self.url_hash,
                "name": self.name,
                "version": _dump_validators(self.validators),
                "size_bytes": self.size_bytes,
                "modified_ns": self.modified_ns,
                "sha256": self.sha256,
                "media_type": self.media_type,
            },
        )

    @classmethod
    def load(cls, data: bytes, boot: str) -> "Record | None":
        """Decode a record; None if damaged or of another format.

        `is_of_this_boot` says whether it was written in `boot`.
        """
        fields = _decode(data)
        if fields is None:
            return None
        with contextlib.suppress(KeyError, TypeError, ValueError):
            media_type = fields["media_type"]
            return cls(
                url_hash=str(fields["url_hash"]),
                name=str(fields["name"]),
                validators=_load_validators(fields["version"]),
                size_bytes=int(fields["size_bytes"]),
                modified_ns=int(fields["modified_ns"]),
                sha256=str(fields["sha256"]),
                media_type=None if media_type is None else str(media_type),
                is_of_this_boot=fields["boot"] == boot,
            )
        return None


def _encode(boot: str, fields: dict[str, Any]) -> bytes:
    body = json.dumps({"format": FORMAT, "boot": boot, **fields}, separators=(",", ":"))
    return f"{hashlib.sha256(body.encode()).hexdigest()} {body}\n".encode()


def _decode(data: bytes) -> dict[str, Any] | None:
    checksum, _, body = data.partition(b"\n")[0].partition(b" ")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        return None
    with contextlib.suppress(ValueError):
        fields = json.loads(body)
        if isinstance(fields, dict) and fields.get("format") == FORMAT and "boot" in fields:
            return fields
    return None


def _dump_validators(validators: Validators) -> list[Any]:
    etag = None if validators.etag is None else str(validators.etag)
    return [
        etag,
        validators.last_modified_s,
        validators.date_is_strong,
        validators.total_bytes,
    ]


def _load_validators(fields: Any) -> Validators:
    etag, modified_s, is_strong, total_bytes = fields
    if not all(value is None or isinstance(value, int) for value in (modified_s, total_bytes)):
        raise ValueError("invalid validators")
    return Validators(parse_etag(etag or ""), modified_s, bool(is_strong), total_bytes)
