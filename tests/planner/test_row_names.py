import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidnb.download.planner.naming import MAX_NAME_BYTES, clean_name, numbered
from vidnb.download.planner.row_names import (
    MissingValueError,
    RowNames,
    format_name,
    is_missing,
    template_fields,
)


def assigned(*rows: tuple[str | None, str]) -> list[str]:
    names = RowNames()
    return [names.assign(wanted, f"https://h/{url}") for wanted, url in rows]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (None, "film.mp4"),
        ("", "film.mp4"),
        ("..", "film.mp4"),
        ("/ / .", "film.mp4"),
        ("a.mp4", "a.mp4"),
        ("a", "a"),
        ("a/b/c.mp4", "a/b/c.mp4"),
        ("a\\b.mp4", "a/b.mp4"),
        ("/etc/passwd", "etc/passwd"),
        ("../../a.mp4", "a.mp4"),
        ("a/../b.mp4", "a/b.mp4"),
        ("a//./b.mp4", "a/b.mp4"),
        ("C:\\videos\\a.mp4", "C_/videos/a.mp4"),
        (".vidnb/a.mp4", "vidnb/a.mp4"),
        ("~/a.mp4", "~/a.mp4"),
        ("nul/con.mp4", "_nul/_con.mp4"),
        ("a\0b\n.mp4", "ab.mp4"),
        ("gpj\u202e.4pm", "gpj.4pm"),
        ("кино/фильм.mp4", "кино/фильм.mp4"),
    ],
)
def test_wanted_names_are_relative_and_safe(wanted: str | None, name: str) -> None:
    assert assigned((wanted, "film.mp4?x=1")) == [name]


def test_a_long_name_keeps_its_extension_and_stays_unique() -> None:
    long = "x" * 300 + ".mp4"
    first, second = assigned((long, "1"), (long, "2"))
    assert first == "x" * (MAX_NAME_BYTES - 4) + ".mp4"
    assert second == "x" * (MAX_NAME_BYTES - 4) + " (1).mp4"


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        pytest.param(
            [("v.mp4", "1"), ("v.mp4", "2"), ("v.mp4", "3")],
            ["v.mp4", "v (1).mp4", "v (2).mp4"],
            id="three",
        ),
        pytest.param(
            [("v.mp4", "1"), ("v.mp4", "2"), ("v.mp4", "1"), ("v.mp4", "2")],
            ["v.mp4", "v (1).mp4", "v.mp4", "v (1).mp4"],
            id="the-same-url-is-one-file",
        ),
        pytest.param(
            [("v (1).mp4", "1"), ("v.mp4", "2"), ("v.mp4", "3")],
            ["v (1).mp4", "v.mp4", "v (2).mp4"],
            id="a-number-that-is-taken",
        ),
        pytest.param(
            [("v.mp4", "1"), ("v.mp4", "2"), ("v (1).mp4", "3")],
            ["v.mp4", "v (1).mp4", "v (1) (1).mp4"],
            id="a-number-that-was-assigned",
        ),
        pytest.param(
            [("v.mp4", "1"), ("v (1).mp4", "2"), ("v.mp4", "2")],
            ["v.mp4", "v (1).mp4", "v (1).mp4"],
            id="the-number-of-its-own-url",
        ),
        pytest.param([("A.mp4", "1"), ("a.MP4", "2")], ["A.mp4", "a (1).MP4"], id="case"),
        pytest.param([("straße", "1"), ("STRASSE", "2")], ["straße", "STRASSE (1)"], id="casefold"),
        pytest.param([("é.mp4", "1"), ("e\u0301.mp4", "2")], ["é.mp4", "é (1).mp4"], id="nfc"),
        pytest.param([("a?.mp4", "1"), ("a*.mp4", "2")], ["a_.mp4", "a_ (1).mp4"], id="cleaned"),
        pytest.param(
            [("a", "1"), ("a/v.mp4", "2"), ("a/w.mp4", "3")],
            ["a", "a (1)/v.mp4", "a (1)/w.mp4"],
            id="a-folder-after-a-file",
        ),
        pytest.param(
            [("a/v.mp4", "1"), ("A", "2"), ("a/v.mp4", "3")],
            ["a/v.mp4", "A (1)", "a/v (1).mp4"],
            id="a-file-after-a-folder",
        ),
        pytest.param([(None, "x/v.mp4"), (None, "y/v.mp4")], ["v.mp4", "v (1).mp4"], id="urls"),
        pytest.param([(None, ""), (None, "?2")], ["video", "video (1)"], id="urls-without-a-name"),
    ],
)
def test_collisions(rows: list[tuple[str | None, str]], names: list[str]) -> None:
    assert assigned(*rows) == names


def test_many_collisions_take_linear_time() -> None:
    names = assigned(*(("v.mp4", str(number)) for number in range(3000)))
    assert names[2999] == "v (2999).mp4"
    assert len(set(names)) == 3000


WANTED = st.none() | st.text(max_size=12) | st.sampled_from(["a", "A", "a/b", "a/b.mp4", "b"])


@given(st.lists(st.tuples(WANTED, st.sampled_from("xyz")), max_size=12))
def test_names_are_safe_unique_and_the_same_on_every_run(
    rows: list[tuple[str | None, str]],
) -> None:
    names = assigned(*rows)
    assert names == assigned(*rows)
    owners: dict[str, str] = {}
    folders = set()
    for name, (_, url) in zip(names, rows, strict=True):
        assert not re.search(r"[\\\0\n<>:]|//|^/|/$", name)
        for part in name.split("/"):
            assert part not in {"", ".", ".."}
            assert not part.startswith(".")
            assert len(part.encode()) <= MAX_NAME_BYTES + 10
        assert owners.setdefault(name.casefold(), url) == url
        parts = name.casefold().split("/")
        folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
    assert not folders & owners.keys()


@pytest.mark.parametrize(
    ("template", "row", "name"),
    [
        ("{id}.mp4", {"id": "7"}, "7.mp4"),
        ("{id:05d}.mp4", {"id": 7}, "00007.mp4"),
        ("{id:05d}.mp4", {"id": "7"}, "00007.mp4"),
        ("{id:05d}.mp4", {"id": 7.0}, "00007.mp4"),
        ("{s:.1f}", {"s": "1.25"}, "1.2"),
        ("{s:.2f}", {"s": 1}, "1.00"),
        ("{t:>4}", {"t": "ab"}, "  ab"),
        ("{a}/{b c}.mp4", {"a": "x", "b c": "y"}, "x/y.mp4"),
        ("{m[k]}", {"m": {"k": "v"}}, "v"),
        ("{{{a}}}", {"a": 0}, "{0}"),
        ("{a!r}", {"a": "x"}, "'x'"),
        ("plain", {}, "plain"),
    ],
)
def test_format_name(template: str, row: dict[str, Any], name: str) -> None:
    assert format_name(template, row) == name


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": ""}, {"id": " "}, {"id": math.nan}])
def test_format_name_without_a_value(row: dict[str, Any]) -> None:
    with pytest.raises(MissingValueError, match="no value in 'id', which its name needs"):
        format_name("{id}.mp4", row)


@pytest.mark.parametrize(
    ("template", "row"),
    [
        ("{id:05d}", {"id": "x7"}),
        ("{id:05d}", {"id": 7.5}),
        ("{id:05d}", {"id": [7]}),
        ("{id.nothing}", {"id": 7}),
        ("{id[k]}", {"id": 7}),
        ("{id[9]}", {"id": [7]}),
    ],
)
def test_format_name_with_a_value_that_does_not_fit(template: str, row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be made from the values of the row"):
        format_name(template, row)


def test_template_fields() -> None:
    assert template_fields("{a}/{b[k]:>{c}}{d.e}x{{") == {"a", "b", "d"}


@pytest.mark.parametrize("template", ["{", "a}", "{a!", "{}", "{0}", "{a}{.b}", "{[1]}"])
def test_template_fields_malformed(template: str) -> None:
    with pytest.raises(ValueError, match="name="):
        template_fields(template)


class _Undecided:
    """As pandas.NA: what it is compared with gives an object without a truth."""

    def __ne__(self, other: object) -> "_Undecided":  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise TypeError("the truth of NA is ambiguous")

    __hash__ = object.__hash__


class _Array:
    def __ne__(self, other: object) -> "_Array":  # type: ignore[override]
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")

    __hash__ = object.__hash__


@pytest.mark.parametrize("value", [None, "", "\t ", math.nan, _Undecided()])
def test_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, False, "nan", [], 0.0, _Array(), b""])
def test_not_missing(value: object) -> None:
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("name", "number", "other"),
    [
        ("film.mp4", 0, "film.mp4"),
        ("film.mp4", 1, "film (1).mp4"),
        ("a.tar.gz", 2, "a.tar (2).gz"),
        ("film", 3, "film (3)"),
        (".mp4", 1, ".mp4 (1)"),
    ],
)
def test_numbered(name: str, number: int, other: str) -> None:
    assert numbered(name, number) == other


@pytest.mark.parametrize(
    ("wanted", "name"), [("a.php", "a.php"), ("CON", "_CON"), (" . ", ""), ("a/b", "b")]
)
def test_clean_name(wanted: str, name: str) -> None:
    assert clean_name(wanted) == name
