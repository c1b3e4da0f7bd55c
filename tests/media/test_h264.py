"""Parameter sets and packets of H.264."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.media.h264 import AvcConfig, free_set_number, is_idr, split_start_codes, to_lengths

SPS = bytes.fromhex("6764000aacd94280dff96840000003004000000c83c489658000")[:-2]  # number 0
PPS = bytes.fromhex("68ebe3cb22c0")  # number 0
IDR, SLICE, SEI = b"\x65\x88\x84", b"\x41\x9a\x21", b"\x06\x05\x01\x80"
CONFIG = AvcConfig(b"\x64\x00\x0a", 4, (SPS,), (PPS,), b"\xfd\xf8\xf8\x00")


def stream(*units: bytes, code: bytes = b"\0\0\0\1") -> bytes:
    return b"".join(code + unit for unit in units)


@pytest.mark.parametrize("code", [b"\0\0\1", b"\0\0\0\1"])
def test_units_are_split_at_start_codes_of_either_length(code: bytes) -> None:
    assert split_start_codes(stream(SPS, PPS, IDR, code=code)) == [SPS, PPS, IDR]
    assert split_start_codes(b"") == []
    assert split_start_codes(b"no code") == []


def test_lengths_replace_start_codes_and_parameter_sets_are_left_out() -> None:
    data = to_lengths(stream(SPS, PPS, SEI, IDR), 4)
    assert data == b"\0\0\0\x04" + SEI + b"\0\0\0\x03" + IDR
    assert to_lengths(stream(SLICE), 2) == b"\0\x03" + SLICE


@pytest.mark.parametrize(("unit", "expected"), [(IDR, True), (SLICE, False)])
def test_a_sequence_starts_at_an_idr_picture_only(unit: bytes, expected: bool) -> None:
    assert is_idr(stream(SEI, unit), None) is expected
    assert is_idr(to_lengths(stream(SEI, unit), 4), CONFIG) is expected
    short = AvcConfig(b"\x64\x00\x0a", 2, (SPS,), (PPS,))
    assert is_idr(to_lengths(stream(SEI, unit), 2), short) is expected


def test_an_empty_unit_and_a_cut_length_are_no_picture() -> None:
    assert not is_idr(b"\0\0\0\0\0\0\0\x09", CONFIG)
    assert not is_idr(b"\0\0", CONFIG)


def test_a_free_number_is_one_that_no_set_has() -> None:
    number_1 = b"\x68\x4b\xe3"  # ue(v) 010
    number_2 = SPS[:4] + b"\x6c"  # ue(v) 011
    assert free_set_number([]) == 0
    assert free_set_number([SPS, PPS, SEI]) == 1
    assert free_set_number([SPS, number_1]) == 2
    assert free_set_number([number_1, number_2]) == 0
    assert free_set_number([SPS, number_1, number_2]) == 3


def number_of(value: int) -> bytes:
    """Return a PPS whose number is ue(v) `value` (section 9.1)."""
    bits = f"{value + 1:b}"
    word = "0" * (len(bits) - 1) + bits + "1"
    return b"\x68" + int(word.ljust(32, "0"), 2).to_bytes(4, "big")


def test_without_a_free_number_there_is_none() -> None:
    assert free_set_number([number_of(value) for value in range(31)]) == 31
    assert free_set_number([number_of(value) for value in range(32)]) is None


def test_a_configuration_keeps_what_it_does_not_change() -> None:
    added = b"\x67\x64\x00\x0a\x6c\x01", b"\x68\x4b\xe3"
    joined = CONFIG.with_sets([*added, SEI])
    assert (joined.sps, joined.pps) == ((SPS, added[0]), (PPS, added[1]))
    assert (joined.head, joined.length_bytes, joined.extension) == (
        CONFIG.head,
        4,
        CONFIG.extension,
    )
    assert AvcConfig.parse(joined.dump()) == joined


@given(
    st.binary(min_size=3, max_size=3),
    st.sampled_from([1, 2, 4]),
    st.lists(st.binary(min_size=1, max_size=40), max_size=31).map(tuple),
    st.lists(st.binary(min_size=1, max_size=40), max_size=9).map(tuple),
    st.binary(max_size=4),
)
def test_a_configuration_survives_a_round_trip(
    head: bytes, length: int, sps: tuple[bytes, ...], pps: tuple[bytes, ...], rest: bytes
) -> None:
    config = AvcConfig(head, length, sps, pps, rest)
    assert AvcConfig.parse(config.dump()) == config


@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_none(data: bytes) -> None:
    config = AvcConfig.parse(b"\x01" + data)
    assert config is None or config.length_bytes in {1, 2, 3, 4}


@pytest.mark.parametrize("data", [b"", stream(SPS, PPS), CONFIG.dump()[:20], CONFIG.dump()[:6]])
def test_a_stream_or_a_cut_configuration_is_none(data: bytes) -> None:
    assert AvcConfig.parse(data) is None
