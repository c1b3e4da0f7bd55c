"""One Python server in its own process, on a thread beside an idle or a busy main thread.

    python tests/bench/python_servers.py NAME PORT FILE FILE...

Prints a line of JSON with the URLs of the files once it accepts connections, then reads lines:
`busy` lets the main thread compute in pure Python, `idle` lets it wait. It ends with its input.
"""

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HOST = "127.0.0.1"


def run_vidnb(_: int, files: list[Path]) -> list[str]:
    """Serve with vidnb, which starts its own thread."""
    import vidnb

    return [vidnb.serve(path).url for path in files]


def run_aiohttp(port: int, files: list[Path]) -> None:
    """Serve with aiohttp's FileResponse."""
    from aiohttp import web

    by_name = {path.name: path for path in files}

    async def respond(request: web.Request) -> web.FileResponse:
        return web.FileResponse(by_name[request.match_info["name"]])

    app = web.Application()
    app.router.add_get("/{name}", respond)
    web.run_app(app, host=HOST, port=port, handle_signals=False, access_log=None, print=None)


def run_starlette(port: int, files: list[Path]) -> None:
    """Serve with Starlette's FileResponse on uvicorn, with the loop and parser that it finds."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse
    from starlette.routing import Route

    by_name = {path.name: path for path in files}

    async def respond(request: Request) -> FileResponse:
        return FileResponse(by_name[request.path_params["name"]])

    app = Starlette(routes=[Route("/{name}", respond)])
    config = uvicorn.Config(app, host=HOST, port=port, log_level="warning", access_log=False)
    uvicorn.Server(config).run()


def run_tornado(port: int, files: list[Path]) -> None:
    """Serve with Tornado's StaticFileHandler."""
    from tornado.web import Application, StaticFileHandler

    def quiet(_: object) -> None:
        """Log no access."""

    async def forever() -> None:
        handlers = [(r"/(.*)", StaticFileHandler, {"path": str(files[0].parent)})]
        Application(handlers, log_function=quiet).listen(port, HOST)
        await asyncio.Event().wait()

    asyncio.run(forever())


def run_quart(port: int, files: list[Path]) -> None:
    """Serve with Quart's send_file on Hypercorn."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from quart import Quart, Response, send_file

    by_name = {path.name: path for path in files}
    app = Quart("bench")

    @app.get("/<name>")
    async def respond(name: str) -> Response:
        return await send_file(by_name[name], conditional=True)

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_max_requests = 10**9

    async def serve_forever() -> None:
        await serve(app, config, shutdown_trigger=asyncio.Event().wait)

    asyncio.run(serve_forever())


def run_range_http_server(port: int, files: list[Path]) -> None:
    """Serve with RangeHTTPServer, on HTTP/1.1 and a thread for each connection."""
    from http.server import ThreadingHTTPServer

    from RangeHTTPServer import RangeRequestHandler

    class Quiet(RangeRequestHandler):  # type: ignore[misc]  # it has no types
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    ThreadingHTTPServer((HOST, port), partial(Quiet, directory=files[0].parent)).serve_forever()


SERVERS: dict[str, Callable[[int, list[Path]], object]] = {
    "aiohttp": run_aiohttp,
    "starlette": run_starlette,
    "tornado": run_tornado,
    "quart": run_quart,
    "rangehttpserver": run_range_http_server,
}


def wait_until_open(port: int) -> None:
    """Wait until the port accepts connections."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


def read_commands(busy: threading.Event, idle: threading.Event) -> None:
    """Read the commands for the main thread."""
    for line in sys.stdin:
        is_busy = line.strip() == "busy"
        (busy if is_busy else idle).set()
        (idle if is_busy else busy).clear()
    os._exit(0)


def main() -> None:
    """Serve, then compute or wait as commanded."""
    name, port, files = sys.argv[1], int(sys.argv[2]), [Path(one) for one in sys.argv[3:]]
    if name == "vidnb":
        urls = run_vidnb(port, files)
    else:
        threading.Thread(target=SERVERS[name], args=(port, files), daemon=True).start()
        wait_until_open(port)
        urls = [f"http://{HOST}:{port}/{path.name}" for path in files]
    print(json.dumps(urls), flush=True)
    busy, idle = threading.Event(), threading.Event()
    threading.Thread(target=read_commands, args=(busy, idle), daemon=True).start()
    while True:
        busy.wait()
        while not idle.is_set():
            sum(number * number for number in range(1000))


if __name__ == "__main__":
    main()
