"""Firefox, controlled over WebDriver BiDi (W3C), which it implements itself."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp

from tests.deadline import DEADLINE_S
from tests.network import free_port

FIREFOX_NAMES = ("firefox-esr", "firefox")
# No requests but to the tests' servers, and autoplay is allowed.
PREFERENCES = {
    "app.update.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "media.autoplay.default": 0,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
_T = TypeVar("_T")


def find_firefox() -> str | None:
    """Return the path of Firefox, None if it is not installed."""
    return next(filter(None, map(shutil.which, FIREFOX_NAMES)), None)


class Firefox:
    """A Firefox window with an empty profile in `folder`, open inside the `with` block.

    `errors` are the uncaught errors of the page's scripts.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.errors: list[str] = []
        self._program = program
        self._folder = folder
        # In its own thread: Playwright's event loop may be running in the thread of the tests.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="firefox", daemon=True)
        self._number = 0
        self._page = ""

    def __enter__(self) -> Self:
        profile = self._folder / "profile"
        profile.mkdir()
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        port = free_port()
        self._log = (self._folder / "firefox.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(self._program, "--headless", "--no-remote"),
                *("--profile", str(profile), f"--remote-debugging-port={port}"),
            ],
            env={**os.environ, "HOME": str(self._folder), "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._thread.start()
        try:
            self._run(self._connect(f"ws://127.0.0.1:{port}/session"))
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded"])
            self._page = self.call("browsingContext.create", type="tab")["context"]
            size = {"width": 1280, "height": 1400}
            self.call("browsingContext.setViewport", context=self._page, viewport=size)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(15)
        self._log.close()
        if hasattr(self, "_socket"):
            self._run(self._socket.close())
        if hasattr(self, "_client"):
            self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("browsingContext.navigate", context=self._page, url=url, wait="interactive")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, awaited and passed as JSON."""
        found = self.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._page},
            awaitPromise=True,
        )
        assert found["type"] == "success", found
        value = found["result"].get("value")
        return None if value is None else json.loads(value)

    def wait_for(self, expression: str) -> None:
        """Wait until an expression in the page is true; fail with the text of the page."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not self.evaluate(expression):
            assert time.monotonic() < deadline_s, f"still false: {expression}:\n{self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        """Return the text of the page."""
        return str(self.evaluate("document.body.innerText"))

    def screenshot(self) -> bytes:
        """Return a screenshot of the page as PNG."""
        shot = self.call("browsingContext.captureScreenshot", context=self._page)
        return base64.b64decode(shot["data"])

    def call(self, method: str, **parameters: object) -> Any:
        """Return the result of a protocol command; fail with its error."""
        return self._run(self._call(method, parameters))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    async def _connect(self, url: str) -> None:
        self._client = aiohttp.ClientSession()
        while self._process.poll() is None:
            with suppress(aiohttp.ClientError):
                self._socket = await self._client.ws_connect(url, max_msg_size=2**26)
                return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"Firefox did not start: {(self._folder / 'firefox.log').read_text()}")

    async def _call(self, method: str, parameters: dict[str, object]) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                # Entries without a stack are warnings, such as on a request cancelled by a seek.
                if entry["type"] == "javascript" and entry.get("stackTrace"):
                    self.errors.append(entry["text"])
            elif message.get("id") == self._number:
                assert message["type"] == "success", message
                return message["result"]
