"""Where the netrc file is, and which ones are ignored."""

import logging
import os
from pathlib import Path

import pytest

from vidnb.http.credentials import Netrc
from vidnb.io.netrc_file import read_netrc

ENTRY = "machine a.example login ann password s3cret\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def found(netrc: Netrc, host: str = "a.example") -> tuple[str, str] | None:
    return netrc.find(host, with_default=True)


@pytest.mark.parametrize("name", [".netrc", "_netrc"])
def test_the_file_in_the_home_folder(
    name: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(home / name, ENTRY)
    assert found(read_netrc({})) == ("ann", "s3cret")
    assert not caplog.records


def test_the_first_name_wins(home: Path) -> None:
    write(home / "_netrc", ENTRY.replace("ann", "bob"))
    write(home / ".netrc", ENTRY)
    assert found(read_netrc({"NETRC": ""})) == ("ann", "s3cret")


@pytest.mark.parametrize("named", ["{}/other", "~/other"])
def test_the_file_that_the_variable_names(named: str, home: Path) -> None:
    write(home / ".netrc", ENTRY)
    write(home / "other", ENTRY.replace("ann", "bob"))
    assert found(read_netrc({"NETRC": named.format(home)})) == ("bob", "s3cret")


@pytest.mark.parametrize("named", [os.devnull, "/nowhere/netrc", "a\0b", "{}", "~nobody-here/x"])
def test_the_variable_switches_the_home_folder_off(
    named: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(home / ".netrc", ENTRY)
    assert found(read_netrc({"NETRC": named.format(home)})) is None
    assert not caplog.records


def test_no_file_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    assert found(read_netrc({})) is None
    assert not caplog.records


def test_a_named_pipe_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / ".netrc")
    assert found(read_netrc({})) is None


def test_a_changed_file_is_read_again(home: Path) -> None:
    path = write(home / ".netrc", ENTRY)
    assert found(read_netrc({})) == ("ann", "s3cret")
    write(path, ENTRY.replace("s3cret", "another"))
    assert found(read_netrc({})) == ("ann", "another")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("default login d password s3cret\n", ("d", "s3cret")),
        ("machine a.example\n  login ann\n  password s3cret", ("ann", "s3cret")),
        ('machine a.example login ann password "s3 cret"\n', ("ann", "s3 cret")),
        ("machine a.example login ann\n", ("ann", "")),
        ("machine a.example password s3cret\n", ("", "s3cret")),
        ("machine a.example account acc password s3cret\n", ("acc", "s3cret")),
        ("machine a.example\n", None),
        ("default\n", None),
        ("machine b.example login b password s3cret\n", None),
        ("# a comment\n" + ENTRY, ("ann", "s3cret")),
        ("macdef init\ncd /\n\n" + ENTRY, ("ann", "s3cret")),
        ("machine a.example login \u0141ukasz password \u65e5\n", ("\u0141ukasz", "\u65e5")),
        ("", None),
    ],
)
def test_entries(text: str, expected: tuple[str, str] | None, home: Path) -> None:
    write(home / ".netrc", text)
    assert found(read_netrc({})) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("machine a.example\nlogin ann pasword s3cret\n", "at line 2", id="keyword"),
        pytest.param(f"{ENTRY}\ns3cret\n", "at line", id="top-level"),
        pytest.param(f"{ENTRY}macdef s3cret\ncd /", "at line", id="macro"),
        pytest.param(b"\xff\xfe\x00machine \x81", "is not text", id="not-text"),
    ],
)
def test_a_malformed_file_is_ignored_with_a_warning(
    text: str | bytes, says: str, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(home / ".netrc", text)
    for _ in range(2):
        assert found(read_netrc({})) is None
    (record,) = caplog.records  # once for each state of the file
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert says in record.getMessage()
    assert "s3cret" not in caplog.text


def test_a_user_name_with_a_colon_is_not_used(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(home / ".netrc", ENTRY + "machine b.example login us:er password s3cret\n")
    netrc = read_netrc({})
    assert found(netrc, "b.example") is None
    assert found(netrc) == ("ann", "s3cret")
    assert "a user name with a colon" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o777])
def test_a_file_for_other_users_is_used_with_a_warning(
    mode: int, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(home / ".netrc", ENTRY, mode)
    assert found(read_netrc({})) == ("ann", "s3cret")
    assert f"{path} can be read by other users" in caplog.text
    assert "chmod 600" in caplog.text


def test_an_empty_file_for_other_users_is_no_matter(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(home / ".netrc", "", 0o644)
    read_netrc({})
    assert not caplog.records


def test_a_file_that_cannot_be_read_is_ignored_with_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(home / ".netrc", ENTRY)

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("netrc.netrc", denied)
    assert found(read_netrc({})) is None
    assert f"{path} cannot be read (Permission denied)" in caplog.text
