"""`RequestSettings`: what every request of one download carries besides the planner's headers."""

import ssl
from dataclasses import dataclass, field

from vidnb.http.credentials import Netrc
from vidnb.io.cookie_store import CookieStore

__all__ = ["RequestSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """The settings of one download for `HttpClient.get`; a `repr` shows no secret.

    `headers` and `auth` (user and password) are sent to the origin of the URL only, an entry of
    `netrc` to its host. `proxy` is the URL of a proxy, None for the environment's and "" for none.
    `cookies` are those of the download, at first the caller's. `ssl_context` None stands for the
    default certificates.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    netrc: Netrc = field(default_factory=Netrc, repr=False)
    cookies: CookieStore = field(repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
