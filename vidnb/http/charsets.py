"""Decode text whose charset is undeclared, or declared wrongly: names from older servers.

The rule, which depends on the bytes alone: the declared charset, if it is known and fits; UTF-8, if
the bytes are valid; Windows-1251, if they are words of Cyrillic letters; the double-byte charset of
GBK, Shift-JIS, EUC-KR and Big5 in which most characters are in common use; else Windows-1252. A
wrong guess is a wrong name, so the caller must not rely on the characters.
"""

import re
from typing import Final, NamedTuple

__all__ = ["decode_declared", "decode_text"]

_CODECS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "iso-8859-2": "iso-8859-2",
    "windows-1250": "cp1250",
    "iso-8859-15": "iso-8859-15",
    "windows-1251": "cp1251",
    "koi8-r": "koi8-r",
    "gb2312": "gb18030",  # as in the WHATWG's Encoding standard: GB 18030 extends both
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "windows-31j": "cp932",
    "iso-2022-jp": "iso-2022-jp",
    "euc-jp": "euc-jp",
    "euc-kr": "cp949",
    "ks-c-5601-1987": "cp949",
}
"""Codecs by label, with "-" for "_". Python's further ones do more than decode (`zip`, `idna`)."""


class _DoubleByte(NamedTuple):
    """A charset, and the bytes of the characters that are in common use in it."""

    codec: str
    common: re.Pattern[bytes]


# Each standard has its common ideographs, or syllables, in one block and the rare ones in others.
_DOUBLE_BYTE: Final = (
    _DoubleByte("gb18030", re.compile(rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]")),  # GB 2312 level 1
    _DoubleByte("cp932", re.compile(rb"[\x81-\x83\x88-\x97][\x40-\xfc]")),  # JIS X 0208 level 1
    _DoubleByte("big5", re.compile(rb"[\xa1-\xc6][\x40-\x7e\xa1-\xfe]")),
)
_LEAST_SHARE: Final = 0.6
_HANGUL: Final = re.compile(r"[\x00-\x7f\uac00-\ud7a3]+")
# The syllables of about two thirds of Korean text; EUC-KR shares its bytes with common ideographs.
_FREQUENT_HANGUL: Final = frozenset(
    "이다는에의가을하고로지기서사자은도를한대시리인아나해어그정과수보스라일부제전주원상구으장들만오동영조화"
    "있게성공국신비여모우마교드치관면유미무세안방회음생연트명소경물니거당중문실행재용위분체개선"
)
# Words in lower case, capitalised, or in capitals; one of three letters at least.
_CYRILLIC: Final = re.compile(
    rb"(?=.*[\xa8\xb8\xc0-\xff]{3})"
    rb"(?:[\x00-\x7f]|(?<![\x80-\xff])(?:[\xa8\xc0-\xdf]?[\xb8\xe0-\xff]+|[\xa8\xc0-\xdf]+)"
    rb"(?![\x80-\xff]))+",
    re.DOTALL,
)
_PAIR: Final = re.compile(r"[^\x00-\x7f]{2}")
_LONE: Final = re.compile(r"(?<![A-Za-z])[^\x00-\x7f](?![A-Za-z])")


def decode_declared(octets: bytes, label: str) -> str | None:
    """Decode with the charset of an IANA label; None if it is unknown or does not fit."""
    codec = _CODECS.get(label.strip().lower().replace("_", "-"))
    try:
        return None if codec is None else octets.decode(codec)
    except UnicodeDecodeError:
        return None


def decode_text(octets: bytes, label: str = "") -> str:
    """Decode by the rule of this module; never raises."""
    declared = decode_declared(octets, label)
    if declared is not None:
        return declared
    if (text := decode_declared(octets, "utf-8")) is not None:
        return text
    if _CYRILLIC.fullmatch(octets):
        return octets.decode("cp1251", "replace")
    return (
        _double_byte(octets) or decode_declared(octets, "windows-1252") or octets.decode("latin-1")
    )


def _double_byte(octets: bytes) -> str | None:
    """Decode as the double-byte charset that fits best, or return None if none fits."""
    if _is_korean(octets):
        return octets.decode("cp949")
    best, text = _LEAST_SHARE, None
    for codec, common in _DOUBLE_BYTE:
        try:
            found = octets.decode(codec)
        except UnicodeDecodeError:
            continue
        foreign = [char.encode(codec) for char in found if not char.isascii()]
        share = sum(common.fullmatch(char) is not None for char in foreign) / len(foreign)
        if share > best and _is_apart(found, codec):
            best, text = share, found
    return text


def _is_korean(octets: bytes) -> bool:
    try:
        text = octets.decode("cp949")
    except UnicodeDecodeError:
        return False
    syllables = [char for char in text if not char.isascii()]
    frequent = sum(char in _FREQUENT_HANGUL for char in syllables)
    return _HANGUL.fullmatch(text) is not None and 3 * frequent >= len(syllables)


def _is_apart(text: str, codec: str) -> bool:
    """Whether some foreign text is not part of a Latin word, of which one letter is accented.

    The second byte of a pair may be a letter: "20°C" is no ideograph after "20".
    """
    if _PAIR.search(text):
        return True
    return any(min(found[0].encode(codec)) > 0x7F for found in _LONE.finditer(text))
