"""`CookieStore`: the cookies of one download, kept in memory until it ends."""

from collections.abc import Sequence

import aiohttp
from yarl import URL

from vidnb.http.cookies import Cookie, SetCookie, join_cookies, parse_set_cookie, set_cookie
from vidnb.http.urls import origin

__all__ = ["CookieStore"]


class CookieStore:
    """What the origins of one download set, and what its caller passed; used on one event loop.

    `cookies` without a domain are sent to the origin of `url` only. The others, and those that
    responses set, follow RFC 6265: domain, path, Secure and expiry, without regard to the port.
    """

    def __init__(self, url: str, cookies: Sequence[Cookie] = ()) -> None:
        self._origin = origin(url)
        self._for_origin = {each.name: each.value for each in cookies if each.domain is None}
        self._lazy_jar: aiohttp.CookieJar | None = None
        # The jar of aiohttp 3.14.5 adds or removes quotes, so it gets the number of a value.
        self._numbers: dict[str, int] = {}
        for cookie in cookies:
            if cookie.domain is not None:
                site = URL.build(scheme="https", host=cookie.domain, path=cookie.path)
                self._keep(set_cookie(cookie), site)

    @property
    def _jar(self) -> aiohttp.CookieJar:
        if self._lazy_jar is None:
            # Unsafe means: also for hosts without a name, such as a server in the local network.
            self._lazy_jar = aiohttp.CookieJar(unsafe=True)
        return self._lazy_jar

    def receive(self, fields: Sequence[str], url: str) -> None:
        """Keep the cookies of the Set-Cookie `fields` of a response from `url`."""
        if not fields:
            return
        source = origin(url)
        for field in fields:
            cookie = parse_set_cookie(field, source[1])
            if cookie is not None:
                self._keep(cookie, URL(url, encoded=True))
                if source == self._origin:
                    self._for_origin.pop(cookie.name, None)

    def header(self, url: str, written: str = "") -> str:
        """Return the Cookie field for a request of `url`, empty for none.

        `written` is a Cookie field of the caller; the cookies of this store replace its own of the
        same name.
        """
        if not (self._for_origin or self._numbers):
            return written
        cookies = dict(self._for_origin) if origin(url) == self._origin else {}
        sent = self._jar.filter_cookies(URL(url, encoded=True))
        if sent:
            values = list(self._numbers)
            cookies.update((name, values[int(morsel.value)]) for name, morsel in sent.items())
        return join_cookies(written, cookies)

    def _keep(self, cookie: SetCookie, url: URL) -> None:
        number = self._numbers.setdefault(cookie.value, len(self._numbers))
        field = f"{cookie.name}={number}{cookie.attributes}"
        self._jar.update_cookies_from_headers([field], url)
