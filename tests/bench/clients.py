"""The download clients that are compared, and their commands for one file or for many."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.measure import Client, Job

PARALLEL_FILES = 16

# `setup` is not timed: the imports. With "-" for the URL the process ends after it, which measures
# the imports.
TIMED = """
import json, sys, time
url, path = sys.argv[1:]
note = ""
{setup}
if url == "-":
    sys.exit()
start_s = time.perf_counter()
{call}
print(json.dumps([time.perf_counter() - start_s, note]))
"""

VIDNB = """
result = vidnb.download(url, path, progress=False{options})
elapsed = time.perf_counter() - start_s
note = f"{{result.connections}} connections, {{result.attempts}} attempts"
if result.resumed_from_bytes:
    note += f", resumed from {{result.resumed_from_bytes >> 20}} MiB"
print(json.dumps([elapsed, note]))
sys.exit()
"""

# For many files `url` names a list of (address, path) and `path` is not used.
VIDNB_MANY = """
import asyncio
import vidnb
vidnb.download_async
async def one(semaphore, url, path):
    async with semaphore:
        await vidnb.download_async(url, path, progress=False{options})
async def everything(pairs):
    semaphore = asyncio.Semaphore({parallel_files} or len(pairs))
    await asyncio.gather(*(one(semaphore, url, path) for url, path in pairs))
pairs = json.load(open(url)) if url != "-" else []
"""

DOWNLOAD_MANY = """
import os.path
import vidnb
vidnb.download_many
def everything(pairs):
    folder = os.path.dirname(pairs[0][1])
    urls = [url for url, path in pairs]
    options = dict(concurrency={parallel_files}, per_host={parallel_files}, progress=False)
    summary = vidnb.download_many(urls, folder, **options).result()
    if summary.failed:
        sys.exit(str(summary.failures))
pairs = json.load(open(url)) if url != "-" else []
"""

AIOHTTP_MANY = """
import asyncio
import aiohttp
async def worker(session, pairs):
    for url, path in pairs:
        async with session.get(url) as response:
            response.raise_for_status()
            data = await response.read()
        with open(path, "wb") as file:
            file.write(data)
async def everything(pairs):
    pairs = iter(pairs)
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(worker(session, pairs) for _ in range({parallel_files})))
pairs = json.load(open(url)) if url != "-" else []
"""

SEED = """
import asyncio, aiofiles, aiohttp
async def save():
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        async with aiofiles.open(path, "wb") as file:
            while chunk := await response.content.read(8192):
                await file.write(chunk)
"""

PARFIVE = """
import os.path
from parfive import Downloader
def save():
    downloader = Downloader(progress=False{options})
    folder, name = os.path.split(path)
    downloader.enqueue_file(url, path=folder, filename=name{file_options})
    errors = downloader.download().errors
    if errors:
        sys.exit(str(errors[0]))
"""

POOCH = """
import logging, os.path
import pooch
pooch.get_logger().setLevel(logging.ERROR)
def save():
    folder, name = os.path.split(path)
    pooch.retrieve(url, known_hash={known_hash!r}, fname=name, path=folder, progressbar=False)
"""

PYPDL = """
from pypdl import Pypdl
def save():
    Pypdl().start(url, file_path=path, display=False{options})
"""


def _python(
    name: str, module: str, setup: str, call: str, *, max_rounds: int | None = None
) -> Client:
    def command(url: str, path: str) -> list[str]:
        return [sys.executable, "-c", TIMED.format(setup=setup, call=call), url, path]

    return Client(
        name,
        lambda job: command(job.url, str(job.path)),
        [command("-", "-")],
        is_timed_inside=True,
        max_rounds=max_rounds,
        missing="" if importlib.util.find_spec(module) else "not installed",
    )


def vidnb(name: str = "vidnb", **options: object) -> Client:
    """Return vidnb, called with `options` beside the URL and the path."""
    note = "".join(f", {key}={value!r}" for key, value in options.items())
    return _python(name, "vidnb", "import vidnb\nvidnb.download", VIDNB.format(options=note))


def seed_loop(max_rounds: int | None) -> Client:
    """Return the download loop of the original two-function package."""
    call = "asyncio.run(save())"
    name = "8 KiB reads through aiofiles"
    return _python(name, "aiofiles", SEED, call, max_rounds=max_rounds)


def parfive(
    max_rounds: int | None, splits: int | None = None, checksum: str | None = None
) -> Client:
    """Return parfive, with its default or `splits` connections per file.

    It verifies `checksum` (as `sha256:...`), if given.
    """
    options = f", max_splits={splits}" if splits else ""
    digest = (checksum or "").partition(":")[2]
    file_options = f", checksum='sha-256={digest}'" if checksum else ""
    setup = PARFIVE.format(options=options, file_options=file_options)
    name = "parfive checksum=" if checksum else _label("parfive", splits)
    return _python(name, "parfive", setup, "save()", max_rounds=max_rounds)


def pypdl(max_rounds: int | None = None, segments: int | None = None) -> Client:
    """Return pypdl, with its default or `segments` connections per file."""
    options = f", segments={segments}" if segments else ""
    setup = PYPDL.format(options=options)
    return _python(_label("pypdl", segments), "pypdl", setup, "save()", max_rounds=max_rounds)


def pooch(max_rounds: int | None, checksum: str | None = None) -> Client:
    """Return pooch; it verifies `checksum` (as `sha256:...`), if given."""
    setup = POOCH.format(known_hash=checksum)
    name = "pooch known_hash=" if checksum else "pooch"
    return _python(name, "pooch", setup, "save()", max_rounds=max_rounds)


def _label(name: str, connections: int | None) -> str:
    return f"{name} with {connections}" if connections else name


def program(
    name: str,
    command: Callable[[Job], list[str]],
    *others: str,
    max_rounds: int | None = None,
) -> Client:
    """Return a client that is a program on PATH, or several one after another."""
    programs = [name.split(maxsplit=1)[0], *others]
    missing_programs = [one for one in programs if shutil.which(one) is None]
    starts = {"openssl": ["openssl", "version"]}
    return Client(
        name,
        command,
        [starts.get(one, [one, "--version"]) for one in programs],
        max_rounds=max_rounds,
        missing=f"{missing_programs[0]} not installed" if missing_programs else "",
    )


def curl(*options: str, name: str = "curl", max_rounds: int | None = None) -> Client:
    """Return curl for one file."""
    return program(
        name,
        lambda job: ["curl", "-qsSf", *options, "-o", str(job.path), job.url],
        max_rounds=max_rounds,
    )


def aria2c(*options: str, name: str = "aria2c") -> Client:
    """Return aria2c for one file; without preallocation, which would take time."""
    return program(
        name,
        lambda job: [
            "aria2c", "--no-conf", "-q", "--file-allocation=none", *options,
            "-d", str(job.path.parent), "-o", job.path.name, job.url,
        ],
    )  # fmt: skip


def wget(*options: str, name: str = "wget") -> Client:
    """Return wget for one file."""
    return program(
        name, lambda job: ["wget", "--no-config", "-q", *options, "-O", str(job.path), job.url]
    )


def curl_and_openssl() -> Client:
    """Return curl followed by openssl, which computes the digest of the file."""
    script = 'curl -qsSf -o "$1" "$2" && openssl dgst -sha256 "$1"'
    return program(
        "curl && openssl dgst",
        lambda job: ["sh", "-c", script, "sh", str(job.path), job.url],
        "openssl",
    )


def all_clients(max_rounds: int, ca: Path | None = None) -> list[Client]:
    """Return all clients for one file, the slow ones for `max_rounds` only.

    `ca` is the certificate that the programs trust; the others find it in the environment.
    """
    trusted = [] if ca is None else [str(ca)]
    return [
        vidnb(),
        curl(*(option for path in trusted for option in ("--cacert", path))),
        aria2c(*(f"--ca-certificate={path}" for path in trusted)),
        wget(*(f"--ca-certificate={path}" for path in trusted)),
        pypdl(),
        parfive(max_rounds),
        pooch(max_rounds),
        seed_loop(max_rounds),
    ]


def with_fixed_connections(*counts: int) -> list[Client]:
    """Return vidnb with these numbers of connections."""
    return [vidnb(f"vidnb connections={count}", connections=count) for count in counts]


def with_many_connections(max_rounds: int) -> list[Client]:
    """Return the clients that use several connections for one file."""
    return [
        vidnb("vidnb automatic"),
        *with_fixed_connections(8, 16),
        aria2c("-x16", "-s16", "-k1M", name="aria2c -x16 -s16 -k1M"),
        aria2c("-x4", "-s4", name="aria2c -x4 -s4"),
        # It treats nginx, whose 206 has no Accept-Ranges, as a server without ranges.
        pypdl(max_rounds, 16),
        parfive(max_rounds, 16),
    ]


def _curl_list(job: Job) -> Path:
    path = job.notes / "curl.conf"
    path.write_text("".join(f'url="{one.url}"\noutput="{one.path}"\n' for one in job.items))
    return path


def _aria2c_list(job: Job) -> Path:
    path = job.notes / "aria2c.list"
    path.write_text("".join(f"{one.url}\n  out={one.path.name}\n" for one in job.items))
    return path


def _python_many(
    name: str, module: str, setup: str, call: str = "asyncio.run(everything(pairs))"
) -> Client:
    one = _python(name, module, setup, call)
    command = one.command

    def with_list(job: Job) -> list[str]:
        pairs = ", ".join(f'["{one.url}", "{one.path}"]' for one in job.items)
        path = job.notes / "pairs.json"
        path.write_text(f"[{pairs}]")
        *start, _, _ = command(job)
        return [*start, str(path), "-"]

    one.command = with_list
    return one


CURL_PARALLEL = "curl --parallel"
CURL_PARALLEL_NOW = "curl --parallel-immediate"
ARIA2C_MANY = "aria2c -j16"
VIDNB_BATCH = "vidnb.download_many"


def batches() -> list[Client]:
    """Return the clients that download a list of files in one call, 16 at once."""
    setup = DOWNLOAD_MANY.format(parallel_files=PARALLEL_FILES)
    peers = {CURL_PARALLEL, CURL_PARALLEL_NOW, ARIA2C_MANY}
    return [
        _python_many(VIDNB_BATCH, "vidnb", setup, "everything(pairs)"),
        *(one for one in with_many_files() if one.name in peers),
    ]


def with_many_files() -> list[Client]:
    """Return the clients that download many small files, 16 in parallel."""

    def vidnb_many(name: str, parallel_files: int, options: str = "") -> Client:
        setup = VIDNB_MANY.format(parallel_files=parallel_files, options=options)
        return _python_many(name, "vidnb", setup)

    def curl_many(job: Job, *options: str) -> list[str]:
        several = ["--parallel", "--parallel-max", str(PARALLEL_FILES)]
        return ["curl", "-qsSf", *several, *options, "-K", str(_curl_list(job))]

    def aria2c_many(job: Job) -> list[str]:
        options = ["--no-conf", "-q", "--file-allocation=none", f"-j{PARALLEL_FILES}"]
        return ["aria2c", *options, "-d", str(job.folder), "-i", str(_aria2c_list(job))]

    return [
        vidnb_many("vidnb, 16 in parallel", PARALLEL_FILES),
        vidnb_many("vidnb connections=1, 16 in parallel", PARALLEL_FILES, ", connections=1"),
        vidnb_many("vidnb, all at once", 0),
        program(CURL_PARALLEL, curl_many),
        program(CURL_PARALLEL_NOW, lambda job: curl_many(job, "--parallel-immediate")),
        program(ARIA2C_MANY, aria2c_many),
        _python_many(
            "aiohttp, 16 workers, no checks",
            "aiohttp",
            AIOHTTP_MANY.format(parallel_files=PARALLEL_FILES),
        ),
    ]


def resuming() -> list[Client]:
    """Return the clients that resume half of a file."""
    return [
        vidnb(),
        curl("-C", "-", name="curl -C -"),
        wget("-c", name="wget -c"),
        aria2c("-c", name="aria2c -c"),
    ]


def checking(checksum: str, max_rounds: int) -> list[Client]:
    """Return the clients that verify a digest; `checksum` as `sha256:...`."""
    digest = checksum.partition(":")[2]
    return [
        vidnb("vidnb checksum=", checksum=checksum),
        curl_and_openssl(),
        aria2c(f"--checksum=sha-256={digest}", name="aria2c --checksum"),
        parfive(max_rounds, checksum=checksum),
        pooch(max_rounds, checksum),
    ]


IMPORT = """
import sys, time
start_s = time.perf_counter()
{call}
print('[%r, ""]' % (time.perf_counter() - start_s))
"""


def importing() -> list[Client]:
    """Return the imports that are compared."""

    def command(call: str, _: Job | None = None) -> list[str]:
        return [sys.executable, "-c", IMPORT.format(call=call)]

    return [
        Client(
            f"import {module}",
            partial(command, f"import {module}"),
            [command("")],
            is_timed_inside=True,
            missing="" if importlib.util.find_spec(module) else "not installed",
        )
        for module in ("vidnb", "aiohttp")
    ]
