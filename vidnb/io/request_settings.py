"""`RequestSettings`: what every request of one download carries besides the planner's headers."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from vidnb.http.request_headers import basic_credentials
from vidnb.io.cookie_store import CookieStore

__all__ = ["RequestSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """The settings of one download for `HttpClient.get`; a `repr` shows no secret.

    `headers` and `auth` (user and password) are sent to the origin of the URL only. `proxy` is the
    URL of a proxy, None for the environment's. `cookies` are those of the download, at first the
    caller's. `ssl_context` None stands for the default certificates.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    cookies: CookieStore = field(repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)

    def caller_headers(self) -> Mapping[str, str]:
        """Return the headers for the first origin, with `auth` as Basic credentials."""
        headers = dict(self.headers)
        if self.auth is not None:
            headers["Authorization"] = basic_credentials(*self.auth)
        return headers
