"""Where the proxy of a request comes from; downloads through one are in tests/download."""

import asyncio
import sys

import aiohttp_socks
import pytest

from tests.proxies import HttpProxy
from vidnb.download.planner.retry import FailureKind
from vidnb.errors import URLNotAllowed
from vidnb.http.proxies import parse_proxy
from vidnb.io import proxy as module
from vidnb.io.client import ConnectionFault, HttpClient
from vidnb.io.cookie_store import CookieStore
from vidnb.io.proxy import proxy_fault, request_faults, select_proxy
from vidnb.io.request_settings import RequestSettings

URL = "https://film.example/f.mp4"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings outside of the environment, as macOS and Windows have them."""
    settings = {"https": "http://system.example:1", "no": "local.example"}
    monkeypatch.setattr(module, "_HAS_SYSTEM_SETTINGS", True)
    monkeypatch.setattr(module, "getproxies", lambda: settings)
    monkeypatch.setattr(module, "proxy_bypass", lambda host: host == settings["no"])
    return settings


def selected(url: str, setting: str | None = None) -> str | None:
    proxy = select_proxy(url, setting)
    return None if proxy is None else str(proxy)


@pytest.mark.usefixtures("system")
def test_the_settings_of_the_system() -> None:
    assert selected(URL) == "http://system.example:1"
    assert selected("http://film.example/") is None
    assert selected("https://local.example/") is None


@pytest.mark.usefixtures("system")
def test_a_proxy_of_the_environment_replaces_those_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert selected(URL) == "http://system.example:1"
    monkeypatch.setenv("http_proxy", "http://p:1")
    assert selected(URL) is None
    monkeypatch.setenv("no_proxy", "")
    assert selected("http://film.example/") == "http://p:1"


def test_a_malformed_setting_of_the_system_is_named(system: dict[str, str]) -> None:
    system["https"] = "http://user:s3cret@"
    with pytest.raises(ConnectionFault, match="the system's proxy is not a usable") as caught:
        select_proxy(URL, None)
    assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("system")
def test_the_option_replaces_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://p:1")
    assert selected(URL, "http://q:2") == "http://q:2"
    assert selected(URL, "") is None


def test_elsewhere_only_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "getproxies", lambda: pytest.fail("it was read"))
    monkeypatch.setattr(module, "_HAS_SYSTEM_SETTINGS", False)
    assert selected(URL) is None


def test_a_timeout_of_aiohttp_socks_is_one_of_the_connection() -> None:
    """Which of two equal timeouts ends a request first is a matter of chance."""
    proxy = parse_proxy("socks5://user:s3cret@p:1", "proxy=…")
    fault = proxy_fault(aiohttp_socks.ProxyTimeoutError("s3cret"), URL, 5.0, proxy)
    assert isinstance(fault, ConnectionFault)
    assert fault.failure.kind is FailureKind.TIMEOUT
    expected = "nothing arrived for 5 s, through the proxy socks5://p:1 of proxy=…"
    assert fault.failure.reason == expected


def test_without_a_socks_proxy_its_package_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert aiohttp_socks.ProxyError in request_faults()
    monkeypatch.delitem(sys.modules, "aiohttp_socks")
    assert aiohttp_socks.ProxyError not in request_faults()


def test_a_header_that_cannot_be_sent_through_a_proxy() -> None:
    async def main(url: str) -> None:
        settings = RequestSettings(
            proxy=url, headers=(("X", "a\r\nHost: b"),), cookies=CookieStore(URL, ())
        )
        async with HttpClient() as client:
            await client.get("http://a.example/", settings, request_headers={}, idle_timeout_s=5)

    with HttpProxy({}) as proxy, pytest.raises(URLNotAllowed, match="check the headers"):
        asyncio.run(main(proxy.url))
    assert not proxy.heads
