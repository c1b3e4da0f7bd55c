"""Validators (RFC 9110 section 8.8): whether two responses have the same version of a file.

Bytes of two versions are never joined. Only a strong ETag, or a Last-Modified that is old enough to
be strong, identifies a version; with anything weaker vidnb downloads the file in one request or
starts again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vidnb.http.headers import ETag, format_http_date, parse_etag, parse_http_date, strong_match

__all__ = ["STRONG_DATE_MARGIN_S", "Validators"]

# RFC 9110 section 8.8.2.2 requires one second between Last-Modified and Date. The clocks of an
# origin's machines differ by more; RFC 7232 required one minute.
STRONG_DATE_MARGIN_S = 60


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of one version of a file and, if known, its length (B).

    `date_is_strong`: `last_modified_s` (POSIX time, s) is at least `STRONG_DATE_MARGIN_S` before
    the Date of the same response.
    """

    etag: ETag | None = None
    last_modified_s: int | None = None
    date_is_strong: bool = False
    total_bytes: int | None = None

    @classmethod
    def from_response(
        cls, headers: Mapping[str, str], total_bytes: int | None, now_s: float
    ) -> "Validators":
        """Parse a response's folded headers; `now_s` is for the years of RFC 850 dates only."""
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
        # Beside a weak ETag the date is no stronger than the tag (RFC 9110 section 8.8.1).
        return self.last_modified_s if self.etag is None and self.date_is_strong else None

    def is_same_as(self, other: "Validators") -> bool:
        """Return whether both certainly identify one version; weak validators never do."""
        if None not in (self.total_bytes, other.total_bytes):  # noqa: SIM102 - two separate rules
            if self.total_bytes != other.total_bytes:
                return False
        if self._strong_etag is not None:
            return other.etag is not None and strong_match(self._strong_etag, other.etag)
        # Only this date must be strong: the other response may lack a Date.
        return (
            self._strong_date_s is not None
            and other.etag is None
            and other.last_modified_s == self._strong_date_s
        )

    def may_be_same_as(self, other: "Validators") -> bool:
        """Return whether nothing shows that the two identify different versions.

        True where `is_same_as` is, and where the validators are weak, or missing on one side.
        """
        if self.etag is not None and other.etag is not None:
            is_equal = self.etag.opaque == other.etag.opaque  # RFC 9110 section 8.8.3.2, weak
        else:
            is_equal = _is_equal_or_unknown(self.last_modified_s, other.last_modified_s)
        return is_equal and _is_equal_or_unknown(self.total_bytes, other.total_bytes)

    def if_range(self) -> str | None:
        """Return the If-Range value for this version (RFC 9110 section 13.1.5), None if weak.

        None also for a tag that cannot be encoded; it still distinguishes two responses.
        """
        if self._strong_etag is not None:
            return str(self._strong_etag) if _is_encodable(self._strong_etag) else None
        if self._strong_date_s is not None:
            return format_http_date(self._strong_date_s)
        return None

    def conditional_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that request the file only if it is no longer this version.

        If-None-Match compares weakly (RFC 9110 section 13.1.2), so a weak ETag is sufficient; a
        date must be strong, since a file can change twice in one second.
        """
        if self.etag is not None:
            return (("If-None-Match", str(self.etag)),) if _is_encodable(self.etag) else ()
        if self._strong_date_s is not None:
            return (("If-Modified-Since", format_http_date(self._strong_date_s)),)
        return ()


def _is_equal_or_unknown(one: int | None, other: int | None) -> bool:
    return None in (one, other) or one == other


def _is_encodable(etag: ETag) -> bool:
    """Return whether a tag can be sent: bytes that were not UTF-8 were decoded as surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in etag.opaque)
