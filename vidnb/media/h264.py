"""H.264 packets and parameter sets, as far as joining two encodings needs them.

Packets hold NAL units (ITU-T H.264, section 7.3.1), either after start codes (Annex B: MPEG-TS,
encoders) or after their lengths (ISO/IEC 14496-15 section 5.3: MP4, Matroska). Two encodings in one
track need parameter sets with different numbers; then every packet decodes with its own, wherever a
player seeks.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

__all__ = ["AvcConfig", "free_set_number", "is_idr", "split_start_codes", "to_lengths"]

_SLICE_IDR: Final = 5
_SPS: Final = 7
_PPS: Final = 8
_START_CODE: Final = re.compile(rb"\x00\x00\x01")
_MAX_SPS: Final = 32
_PROFILE_BYTES: Final = 4
"""The NAL header, profile, constraints and level before the number of an SPS."""


def split_start_codes(data: bytes) -> list[bytes]:
    """Return the NAL units of a byte stream (Annex B)."""
    starts = [found.end() for found in _START_CODE.finditer(data)]
    ends = [*(start - 3 for start in starts[1:]), len(data)]
    units = (data[start:end].rstrip(b"\0") for start, end in zip(starts, ends, strict=False))
    return [unit for unit in units if unit]


def _split_lengths(data: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(data):
        stop = at + length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
        yield data[at + length_bytes : stop]
        at = stop


def is_idr(data: bytes, config: "AvcConfig | None") -> bool:
    """Whether a packet starts a coded video sequence: nothing after it needs anything before it.

    `config` is the configuration of its track, None for a byte stream.
    """
    units: Iterable[bytes] = (
        split_start_codes(data) if config is None else _split_lengths(data, config.length_bytes)
    )
    return any(unit[0] & 31 == _SLICE_IDR for unit in units if unit)


def to_lengths(data: bytes, length_bytes: int, *, keeps_sets: bool = False) -> bytes:
    """Return the NAL units of an H.264 byte stream after their lengths of `length_bytes`.

    Parameter sets are left out, since MP4 has them in its header; with `keeps_sets` nothing is
    left out, and the stream may be HEVC, too.
    """
    units = split_start_codes(data)
    if not keeps_sets:
        units = [unit for unit in units if unit[0] & 31 not in {_SPS, _PPS}]
    return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)


def free_set_number(units: Iterable[bytes]) -> int | None:
    """Return a number that no SPS and no PPS among these NAL units has; None if all are taken."""
    taken = set()
    for unit in units:
        if unit[0] & 31 == _SPS:
            taken.add(_first_number(unit[_PROFILE_BYTES:]))
        elif unit[0] & 31 == _PPS:
            taken.add(_first_number(unit[1:]))
    return next((number for number in range(_MAX_SPS) if number not in taken), None)


def _first_number(data: bytes) -> int:
    """Return the ue(v) at the start of `data` (section 9.1)."""
    bits = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
    zeros = 64 - bits.bit_length()
    return (bits >> max(0, 64 - 2 * zeros - 1)) - 1


@dataclass(frozen=True, slots=True)
class AvcConfig:
    """The decoder configuration of a track, `avcC` (ISO/IEC 14496-15 section 5.3.3.1).

    `length_bytes` is the size of a length before a NAL unit; `extension` are the fields after the
    parameter sets, which the high profiles have.
    """

    head: bytes
    length_bytes: int
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    extension: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Return the configuration in an extradata; None if it is a byte stream or damaged."""
        if len(data) < 7 or data[0] != 1:
            return None
        sets: list[tuple[bytes, ...]] = []
        at = 5
        for mask in (31, 255):
            found = []
            count = data[at] & mask if at < len(data) else 0
            at += 1
            for _ in range(count):
                stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
                found.append(data[at + 2 : stop])
                at = stop
            sets.append(tuple(found))
        if at > len(data) or not all((*sets[0], *sets[1])):
            return None
        return cls(data[1:4], (data[4] & 3) + 1, sets[0], sets[1], data[at:])

    def with_sets(self, units: Sequence[bytes]) -> "AvcConfig":
        """Return the configuration with the parameter sets among these NAL units added."""
        sps = tuple(unit for unit in units if unit[0] & 31 == _SPS)
        pps = tuple(unit for unit in units if unit[0] & 31 == _PPS)
        return AvcConfig(
            self.head, self.length_bytes, self.sps + sps, self.pps + pps, self.extension
        )

    def dump(self) -> bytes:
        """Encode the configuration."""
        sps, pps = (
            b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
            for units in (self.sps, self.pps)
        )
        head = bytes([1]) + self.head + bytes([0xFC | (self.length_bytes - 1)])
        counts = bytes([0xE0 | len(self.sps)]), bytes([len(self.pps)])
        return head + counts[0] + sps + counts[1] + pps + self.extension
