"""The public names are a contract: exactly these, with these signatures, said in full."""

import inspect
import subprocess
import sys
from concurrent.futures import Future

import pytest

import vidnb

FUNCTIONS = {
    "save_video_from_url": "(url, save_path)",
    "get_video_data": "(file_name)",
    "download": "(url, path=None, *, checksum=None, max_bytes=None, connections=None,"
    " if_exists='refresh', retry=None, headers=None, session=None, public_only=False,"
    " check_video=True, idle_timeout_s=30.0, progress=None)",
    "serve": "(path, *, max_partial_bytes=None, host='127.0.0.1', allowed_hosts=())",
    "play": "(source, *, start_s=None, autoplay=False, muted=False, loop=False, width=None,"
    " subtitles=None, poster=None, route='auto', markers=(), save_to=None)",
    "compare": "(*sources, labels=None, columns=None, offsets_s=None)",
    "sample": "()",
}
FUNCTIONS["download_async"] = FUNCTIONS["start_download"] = FUNCTIONS["download"]
RESULT_FIELDS = [
    "path", "url", "size_bytes", "sha256", "elapsed_s", "resumed_from_bytes", "connections",
    "attempts", "reused", "etag", "media_type",
]  # fmt: skip
ERRORS = {
    "VidnbError": Exception,
    "TransferError": vidnb.VidnbError,
    "TransportError": vidnb.TransferError,
    "TransferTimeout": (vidnb.TransferError, TimeoutError),
    "StatusError": vidnb.TransferError,
    "RemoteProtocolError": vidnb.TransferError,
    "SourceChanged": vidnb.TransferError,
    "TooLarge": vidnb.TransferError,
    "ChecksumMismatch": vidnb.TransferError,
    "NotAVideo": vidnb.TransferError,
    "URLNotAllowed": vidnb.TransferError,
    "StorageError": (vidnb.TransferError, OSError),
    "ServeError": vidnb.VidnbError,
    "Unreachable": vidnb.ServeError,
    "PlayerTimeout": (vidnb.VidnbError, TimeoutError),
    "MissingExtra": (vidnb.VidnbError, ImportError),
}
CLASSES = {"Comparison", "DownloadResult", "DownloadJob", "Served", "Player", "RetryPolicy"}


def test_all_is_exact() -> None:
    """`__all__` holds what is promised and nothing else, sorted, and every name is there."""
    assert set(vidnb.__all__) == {*FUNCTIONS, *ERRORS, *CLASSES}
    assert vidnb.__all__ == sorted(vidnb.__all__, key=lambda name: (name.islower(), name))
    assert set(vidnb.__all__) <= set(dir(vidnb))
    for name in vidnb.__all__:
        assert getattr(vidnb, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vidnb.nothing


def test_open_is_public_and_takes_nobodys_built_in() -> None:
    """`from vidnb import *` leaves `open` alone."""
    assert "open" in dir(vidnb)
    assert "open" not in vidnb.__all__
    assert list(inspect.signature(vidnb.open).parameters) == ["source", "timeout_s"]
    assert "`timeout_s` (s)" in str(vidnb.open.__doc__)


@pytest.mark.parametrize(("name", "expected"), FUNCTIONS.items())
def test_signature(name: str, expected: str) -> None:
    """Names, order, defaults and what is keyword-only are as in the design."""
    signature = inspect.signature(getattr(vidnb, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == (
        expected
    )


@pytest.mark.parametrize("name", ["save_video_from_url", "download_async"])
def test_coroutines(name: str) -> None:
    """What is awaited is a coroutine function."""
    assert inspect.iscoroutinefunction(getattr(vidnb, name))


@pytest.mark.parametrize(("name", "base"), ERRORS.items())
def test_error_tree(name: str, base: type | tuple[type, ...]) -> None:
    """Each error stands where the tree draws it."""
    kind = getattr(vidnb, name)
    for parent in base if isinstance(base, tuple) else (base,):
        assert parent in kind.__mro__[1:]
    assert kind.__name__ in (vidnb.errors.__doc__ or "")


def test_errors_carry_their_facts() -> None:
    """The attributes of the tree."""
    status = vidnb.StatusError("s", status=503, retry_after_s=2.0, url="u", resumable_bytes=7)
    assert (status.status, status.retry_after_s, status.url, status.resumable_bytes) == (
        503,
        2.0,
        "u",
        7,
    )
    mismatch = vidnb.ChecksumMismatch("s", expected="a", actual="b")
    assert (mismatch.expected, mismatch.actual) == ("a", "b")
    assert vidnb.NotAVideo("s", title="t").title == "t"
    assert vidnb.Unreachable("s", tried=("direct: refused",)).tried == ("direct: refused",)
    assert vidnb.MissingExtra("s", extra="lab").extra == "lab"
    storage = vidnb.StorageError("the disk is full", url="u")
    assert str(storage) == "the disk is full"
    assert storage.url == "u"
    timeout = vidnb.TransferTimeout("nothing came", resumable_bytes=3)
    assert (str(timeout), timeout.resumable_bytes) == ("nothing came", 3)


def test_an_error_shows_one_sentence_in_a_notebook() -> None:
    """IPython's hook gives the sentence and no frames."""
    error = vidnb.TooLarge("the file is too large")
    assert error._render_traceback_() == ["TooLarge: the file is too large"]


def test_result_is_frozen_and_slotted() -> None:
    """A result is a value."""
    fields = list(inspect.signature(vidnb.DownloadResult).parameters)
    assert fields == RESULT_FIELDS
    assert not hasattr(vidnb.DownloadResult, "__dict__") or "__slots__" in vars(
        vidnb.DownloadResult
    )
    policy = vidnb.RetryPolicy()
    with pytest.raises(AttributeError):
        policy.attempts = 3  # type: ignore[misc]  # the point
    assert str(policy) == (
        "RetryPolicy(attempts=8, base_delay_s=0.5, max_delay_s=30.0, max_retry_after_s=120.0)"
    )


def test_job_has_its_handles() -> None:
    """A job can be waited for, stopped, held and asked."""
    for name in ("result", "cancel", "pause", "resume", "progress", "__await__"):
        assert hasattr(vidnb.DownloadJob, name)
    assert "timeout" in inspect.signature(vidnb.DownloadJob.result).parameters
    assert "timeout" in inspect.signature(Future.result).parameters


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *CLASSES}))
def test_docstrings_say_units_errors_and_source(name: str) -> None:
    """What a person reads with `?` answers the three questions."""
    text = inspect.getdoc(getattr(vidnb, name)) or ""
    assert len(text) > 100, f"{name} has hardly a docstring"
    units = ("(B)", " B", "(s)", "bytes", "seconds", "(px)")
    assert any(unit in text for unit in units), f"{name} names no unit"
    failures = ("error", "raise", "fault", "unreadable")
    assert any(word in text.lower() for word in failures), f"{name} says nothing of failure"
    sources = ("RFC", "browser", "Chromium", "`vidnb.", "`download`", "made by us", "regular file")
    assert any(word in text for word in sources), f"{name} names no source"


def test_download_is_the_function_whatever_was_imported_first() -> None:
    """The subpackage of the same name never replaces it, before or after its first use."""
    code = (
        "import vidnb.download.planner.retry, vidnb.io.loop, vidnb;"
        "from vidnb import download as first; import vidnb.download.registry;"
        "from vidnb.download import task; from vidnb import download as second;"
        "print(first is second is vidnb.download, callable(first), task.__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True True vidnb.download.task"


def test_import_is_light() -> None:
    """`import vidnb` loads neither aiohttp nor ipywidgets, nor asyncio."""
    code = "import vidnb, sys; print(sorted({'aiohttp', 'ipywidgets', 'anywidget', 'asyncio', 'IPython'} & set(sys.modules)))"  # noqa: E501
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_looking_a_name_up_is_lazy() -> None:
    """The policy and the errors come without the network client."""
    code = "import vidnb, sys; vidnb.RetryPolicy, vidnb.TooLarge, dir(vidnb); print('aiohttp' in sys.modules)"  # noqa: E501
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
