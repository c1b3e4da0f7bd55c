"""The public API: names, signatures, errors and docstrings."""

import copy
import gc
import inspect
import multiprocessing
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from importlib import import_module
from typing import Any

import pytest

import vidnb

FUNCTIONS = {
    "save_video_from_url": "(url, save_path)",
    "get_video_data": "(file_name)",
    "download": "(url, path=None, *, checksum=None, max_bytes=None, connections=None,"
    " if_exists='refresh', retry=None, headers=None, auth=None,"
    " cookies=None, proxy=None, ssl_context=None, session=None, public_only=False,"
    " check_video=True, idle_timeout_s=30.0, progress=None)",
    "serve": "(path, *, max_partial_bytes=None, host='127.0.0.1', allowed_hosts=())",
    "play": "(source, *, start_s=None, autoplay=False, muted=False, loop=False, width=None,"
    " subtitles=None, poster=None, route='auto', markers=(), save_to=None, end_s=None,"
    " convert='auto')",
    "compare": "(*sources, labels=None, columns=None, offsets_s=None, convert='auto')",
    "sample": "()",
    "clip": "(source, start_s, end_s, path=None, *, mode='copy', progress=None, cancel=None)",
    "convert": "(source, path, *, width=None, fps=None, keyframe_s=1.0, progress=None,"
    " cancel=None)",
    "frames": "(source, *, stream=0, size=None, format='rgb24', upright=True, damaged='error',"
    " cache_bytes=268435456)",
    "probe": "(source, *, deep=False)",
    "sheet": "(source, n=24, *, every_s=None, at_s=None, columns=None, width=1200, stream=0,"
    " keyframes=False, dark=False)",
}
FUNCTIONS["download_many"] = (
    "(table, folder, *, url='url', name=None, checksum=None, headers=None, executor=None,"
    " concurrency=16, per_host=4, attempts=3, deadline_s=None, status=None, progress=None,"
    " dedupe='report', max_bytes=None, connections=None, if_exists='refresh', retry=None,"
    " auth=None, cookies=None, proxy=None, ssl_context=None, session=None, public_only=False,"
    " check_video=True, idle_timeout_s=30.0)"
)
FUNCTIONS["show"] = (
    "(frames, *, fps=30, loop=True, titles=None, path=None, progress=None, **play_options)"
)
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
    "MediaError": vidnb.VidnbError,
    "PlayerTimeout": (vidnb.VidnbError, TimeoutError),
    "MissingExtra": (vidnb.VidnbError, ImportError),
}
CLASSES = {
    *(
        "ClipResult",
        "Comparison",
        "ConvertResult",
        "DownloadResult",
        "DownloadJob",
        "Encoding",
        "Frame",
        "Frames",
        "Served",
        "Player",
    ),
    *("DownloadBatch", "MediaInfo", "RetryPolicy", "Sheet", "ShowResult"),
}


def test_all_is_exact() -> None:
    """`__all__` is sorted and has the names of the API and no others; each of them loads."""
    assert set(vidnb.__all__) == {*FUNCTIONS, *ERRORS, *CLASSES}
    assert vidnb.__all__ == sorted(vidnb.__all__, key=lambda name: (name.islower(), name))
    assert set(vidnb.__all__) <= set(dir(vidnb))
    for name in vidnb.__all__:
        assert getattr(vidnb, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vidnb.nothing


def test_open_is_public_but_a_star_import_keeps_the_built_in() -> None:
    assert "open" in dir(vidnb)
    assert "open" not in vidnb.__all__
    assert list(inspect.signature(vidnb.open).parameters) == ["source", "timeout_s"]
    assert "`timeout_s` (s)" in str(vidnb.open.__doc__)


@pytest.mark.parametrize(("name", "expected"), FUNCTIONS.items())
def test_signature(name: str, expected: str) -> None:
    signature = inspect.signature(getattr(vidnb, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    assert str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == (
        expected
    )


@pytest.mark.parametrize("name", ["save_video_from_url", "download_async"])
def test_asynchronous_functions_are_coroutine_functions(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(vidnb, name))


@pytest.mark.parametrize(("name", "base"), ERRORS.items())
def test_error_tree(name: str, base: type | tuple[type, ...]) -> None:
    """Each error has the bases that the tree in the docstring of `vidnb.errors` draws."""
    kind = getattr(vidnb, name)
    for parent in base if isinstance(base, tuple) else (base,):
        assert parent in kind.__mro__[1:]
    assert kind.__name__ in (vidnb.errors.__doc__ or "")


def test_errors_have_their_attributes() -> None:
    status = vidnb.StatusError("s", status=503, retry_after_s=2.0, url="u", resumable_bytes=7)
    assert (status.status, status.retry_after_s, status.url) == (503, 2.0, "u")
    assert status.resumable_bytes == status.kept_bytes == 7
    mismatch = vidnb.ChecksumMismatch("s", expected="a", actual="b")
    assert (mismatch.expected, mismatch.actual) == ("a", "b")
    assert vidnb.NotAVideo("s", title="t").title == "t"
    assert vidnb.Unreachable("s", tried=("direct: refused",)).tried == ("direct: refused",)
    assert vidnb.MissingExtra("s", extra="lab").extra == "lab"
    storage = vidnb.StorageError("the disk is full", url="u")
    assert str(storage) == "the disk is full"
    assert storage.url == "u"
    timeout = vidnb.TransferTimeout("no data arrived", resumable_bytes=3)
    assert (str(timeout), timeout.resumable_bytes) == ("no data arrived", 3)


def error_classes(root: type[vidnb.VidnbError] = vidnb.VidnbError) -> list[type[vidnb.VidnbError]]:
    found = [root]
    for kind in root.__subclasses__():
        found += error_classes(kind)
    return list(dict.fromkeys(found))


def test_every_error_pickles_and_copies_with_its_attributes() -> None:
    for module in pkgutil.walk_packages(vidnb.__path__, "vidnb."):
        import_module(module.name)  # a subclass counts wherever it is defined
    assert {kind.__name__ for kind in error_classes()} >= set(ERRORS)
    values: dict[str, Any] = {"status": 503, "retry_after_s": 2.5, "resumable_bytes": 7}
    for kind in error_classes():
        keywords = [
            name
            for name, parameter in inspect.signature(kind.__init__).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]
        error = kind("What happened.", **{name: values.get(name, name) for name in keywords})
        error.add_note("a note")
        pickles = [pickle.dumps(error, n) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
        copies = [pickle.loads(data) for data in pickles]  # noqa: S301 - pickled one line above
        for copied in [*copies, copy.copy(error), copy.deepcopy(error)]:
            assert type(copied) is kind
            assert (str(copied), copied.args) == ("What happened.", ("What happened.",))
            assert vars(copied) == vars(error)
            assert [getattr(copied, name) for name in keywords] == [
                values.get(name, name) for name in keywords
            ]
            assert getattr(copied, "msg", "What happened.") == "What happened."  # of ImportError


def fail(status: int) -> None:
    raise vidnb.StatusError("no such file", status=status, retry_after_s=2.5, url="u")


@pytest.fixture
def collected_pools() -> Iterator[None]:
    """Free the semaphores of a pool here: in a later test an event loop may run, and it blocks."""
    yield
    gc.collect()


@pytest.mark.usefixtures("collected_pools")
def test_an_error_of_a_pool_worker_reaches_the_parent() -> None:
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        pytest.raises(vidnb.StatusError, match="no such file") as caught,
    ):
        pool.map_async(fail, [404]).get(120)  # `map` itself would wait for ever
    assert (caught.value.status, caught.value.retry_after_s, caught.value.url) == (404, 2.5, "u")


@pytest.mark.usefixtures("collected_pools")
def test_an_error_of_a_process_pool_executor_reaches_the_parent() -> None:
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor,
        pytest.raises(vidnb.StatusError, match="no such file") as caught,
    ):
        executor.submit(fail, 404).result(120)
    assert (caught.value.status, caught.value.retry_after_s, caught.value.url) == (404, 2.5, "u")


def test_an_error_shows_one_sentence_in_a_notebook() -> None:
    error = vidnb.TooLarge("the file is too large")
    assert error._render_traceback_() == ["TooLarge: the file is too large"]


def test_result_is_frozen_and_slotted() -> None:
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


def test_a_job_can_be_awaited_cancelled_paused_and_queried() -> None:
    for name in ("result", "cancel", "pause", "resume", "progress", "__await__"):
        assert hasattr(vidnb.DownloadJob, name)
    assert "timeout" in inspect.signature(vidnb.DownloadJob.result).parameters
    assert "timeout" in inspect.signature(Future.result).parameters


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *CLASSES}))
def test_docstrings_name_units_errors_and_source(name: str) -> None:
    text = inspect.getdoc(getattr(vidnb, name)) or ""
    assert len(text) > 100, f"the docstring of {name} is too short"
    units = ("(B)", " B", "(s)", "bytes", "seconds", "(px)")
    assert any(unit in text for unit in units), f"{name} names no unit"
    failures = ("error", "raise", "fault", "unreadable")
    assert any(word in text.lower() for word in failures), f"{name} names no error"
    sources = ("RFC", "browser", "Chromium", "`vidnb.", "`download`", "made by us", "regular file")
    assert any(word in text for word in sources), f"{name} names no source"


def test_importing_the_subpackage_download_does_not_replace_the_function() -> None:
    code = (
        "import vidnb.download.planner.retry, vidnb.io.loop, vidnb;"
        "from vidnb import download as first; import vidnb.download.registry;"
        "from vidnb.download import task; from vidnb import download as second;"
        "print(first is second is vidnb.download, callable(first), task.__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True True vidnb.download.task"


def test_importing_vidnb_loads_no_heavy_package() -> None:
    code = "import vidnb, sys; print(sorted({'aiohttp', 'ipywidgets', 'anywidget', 'asyncio', 'IPython'} & set(sys.modules)))"  # noqa: E501
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_errors_and_the_policy_load_without_the_http_client() -> None:
    code = "import vidnb, sys; vidnb.RetryPolicy, vidnb.TooLarge, dir(vidnb); print('aiohttp' in sys.modules)"  # noqa: E501
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
