"""Which version of a source some bytes belong to, and whether two answers speak of the same one.

Bytes of two versions are never joined. What tells versions apart are validators (RFC 9110
section 8.8): a strong ETag, or a Last-Modified that is old enough to be strong. With anything
weaker vidnb fetches the whole file in one go or starts over.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vidnb.http.headers import ETag, format_http_date, parse_etag, parse_http_date, strong_match

__all__ = ["STRONG_DATE_MARGIN_S", "Validators"]

# RFC 9110 section 8.8.2.2 asks for one second between Last-Modified and Date. Origins that stamp
# both from different machines are off by more; a minute is what RFC 7232 asked for.
STRONG_DATE_MARGIN_S = 60


@dataclass(frozen=True, slots=True)
class Validators:
    """One version of a source: its validators and, where known, its length (B).

    `date_is_strong` says that `last_modified_s` (Unix time, s) lay at least
    `STRONG_DATE_MARGIN_S` before the Date of the answer that named it.
    """

    etag: ETag | None = None
    last_modified_s: int | None = None
    date_is_strong: bool = False
    total_bytes: int | None = None

    @classmethod
    def of_answer(
        cls, headers: Mapping[str, str], total_bytes: int | None, now_s: float
    ) -> "Validators":
        """Read the version from an answer's folded headers; `now_s` dates RFC 850 years only."""
        modified_s = parse_http_date(headers.get("last-modified", ""), now_s)
        date_s = parse_http_date(headers.get("date", ""), now_s)
        return cls(
            etag=parse_etag(headers.get("etag", "")),
            last_modified_s=modified_s,
            date_is_strong=(
                modified_s is not None
                and date_s is not None
                and date_s - modified_s >= STRONG_DATE_MARGIN_S
            ),
            total_bytes=total_bytes,
        )

    @property
    def is_strong(self) -> bool:
        """Whether equal validators mean equal bytes."""
        return self._strong_etag is not None or self._strong_date_s is not None

    @property
    def _strong_etag(self) -> ETag | None:
        return self.etag if self.etag is not None and not self.etag.weak else None

    @property
    def _strong_date_s(self) -> int | None:
        # A weak ETag says that the date beside it is no better (RFC 9110 section 8.8.1).
        return self.last_modified_s if self.etag is None and self.date_is_strong else None

    def is_same_as(self, other: "Validators") -> bool:
        """Tell whether both are, for certain, one version; a weak validator is never certain."""
        if None not in (self.total_bytes, other.total_bytes):  # noqa: SIM102 - two separate rules
            if self.total_bytes != other.total_bytes:
                return False
        if self._strong_etag is not None:
            return other.etag is not None and strong_match(self._strong_etag, other.etag)
        # Ours decides whether the date is strong: an answer in the middle may lack a Date.
        return (
            self._strong_date_s is not None
            and other.etag is None
            and other.last_modified_s == self._strong_date_s
        )

    def if_range(self) -> str | None:
        """Return the If-Range value for this version (RFC 9110 section 13.1.5), None if weak.

        None also for a tag that cannot be sent back; it still tells two answers apart.
        """
        if self._strong_etag is not None:
            return str(self._strong_etag) if _can_be_sent(self._strong_etag) else None
        if self._strong_date_s is not None:
            return format_http_date(self._strong_date_s)
        return None

    def if_changed(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that ask for the file only if it is another version by now.

        If-None-Match compares weakly (RFC 9110 section 13.1.2), so a weak ETag serves too; a
        date serves only where it is strong, since a file can change twice in one second.
        """
        if self.etag is not None:
            return (("If-None-Match", str(self.etag)),) if _can_be_sent(self.etag) else ()
        if self._strong_date_s is not None:
            return (("If-Modified-Since", format_http_date(self._strong_date_s)),)
        return ()


def _can_be_sent(etag: ETag) -> bool:
    """Tell whether a tag survives the way back: bytes that were no UTF-8 came as surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in etag.opaque)
