"""The keyword options of a download: names, types, defaults, help texts and checks, stated once.

`DownloadOptions` types the keywords of `vidnb.download`, `download_async`, `start_download` and
`DownloadRequest.of` for type checkers and editors. `with_download_options` writes the same options
into the signature and the docstring that `help()`, `?` and completion read at run time.
"""

import inspect
import operator
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
)

import aiohttp

from vidnb.download.planner.progress import Progress
from vidnb.download.planner.retry import RetryPolicy

IfExists: TypeAlias = Literal["refresh", "overwrite", "error"]
Cookies: TypeAlias = Mapping[str, str] | str | os.PathLike[str]
ProgressOption: TypeAlias = bool | Callable[[Progress], object] | None

_F = TypeVar("_F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class _Option:
    """The default value and the help text of one option."""

    default: Any
    help: str


class DownloadOptions(TypedDict, total=False):
    """The options of a download; each is optional and keyword-only."""

    checksum: Annotated[
        str | None, _Option(None, '`"sha256:…"`; any algorithm of hashlib. The file must match it.')
    ]
    max_bytes: Annotated[int | None, _Option(None, "The largest file (B) to accept.")]
    connections: Annotated[
        int | None, _Option(None, "The most requests at once; None: chosen by measuring.")
    ]
    if_exists: Annotated[
        IfExists,
        _Option(
            "refresh",
            '`"refresh"` downloads again only if the source changed, `"overwrite"` always,'
            ' `"error"` never.',
        ),
    ]
    retry: Annotated[
        RetryPolicy | None, _Option(None, "A `RetryPolicy`; None: the default policy.")
    ]
    headers: Annotated[
        Mapping[str, str] | None,
        _Option(
            None,
            "Sent to the URL's own origin only. vidnb manages Range, Accept-Encoding and the other"
            " headers that select bytes or their coding.",
        ),
    ]
    auth: Annotated[
        tuple[str, str] | None,
        _Option(
            None,
            "User name and password (Basic), sent to the URL's own origin only. None: those of the"
            " URL, else of the netrc file.",
        ),
    ]
    cookies: Annotated[
        Cookies | None,
        _Option(
            None,
            "A mapping of names to values for the URL's own origin, or the path of a cookie file"
            " in Netscape's format.",
        ),
    ]
    proxy: Annotated[
        str | None,
        _Option(
            None,
            "The URL of an HTTP or SOCKS proxy. None: the one that the environment sets. An empty"
            " text: a direct connection.",
        ),
    ]
    ssl_context: Annotated[
        ssl.SSLContext | None,
        _Option(None, "An `ssl.SSLContext` with your certificates; None: the default ones."),
    ]
    session: Annotated[
        aiohttp.ClientSession | None,
        _Option(None, "Your own aiohttp session; the download then runs on its event loop."),
    ]
    public_only: Annotated[
        bool,
        _Option(
            default=False,
            help="Refuse private, loopback, link-local and cloud metadata addresses. No proxy is"
            " used, since a proxy hides the address.",
        ),
    ]
    check_video: Annotated[
        bool, _Option(default=True, help="Refuse a web page in place of a video.")
    ]
    idle_timeout_s: Annotated[
        float, _Option(30.0, "The longest time (s) without data before a connection fails.")
    ]
    progress: Annotated[
        ProgressOption,
        _Option(
            None,
            "None or True: a bar in a cell or on a terminal; True elsewhere: a line for each retry."
            " False: nothing. A function: called with a `Progress` at most five times a second.",
        ),
    ]


_HINTS: Final = get_type_hints(DownloadOptions, include_extras=True)
_OPTIONS: Final[dict[str, _Option]] = {n: get_args(hint)[1] for n, hint in _HINTS.items()}
_DEFAULTS: Final = cast(DownloadOptions, {n: option.default for n, option in _OPTIONS.items()})
_TRUST: Final = "pass ssl_context=… with the certificates to trust"
# Options of requests, httpx and aiohttp, and what vidnb has for them.
_INSTEAD: Final = {
    "verify": f"vidnb always verifies certificates: {_TRUST}",
    "verify_ssl": f"vidnb always verifies certificates: {_TRUST}",
    "ssl": _TRUST,
    "cert": "pass ssl_context=… with the client certificate (load_cert_chain)",
    "proxies": "pass proxy=… with the URL of a proxy",
    "timeout": "pass idle_timeout_s=…",
}
_PATH_HELP = (
    "None: the current folder and a safe name. An existing folder or a trailing slash: that folder"
    " and a safe name. Otherwise the file itself. `~` is the home folder."
)


def with_download_options(function: _F) -> _F:
    """Replace `**options` by the options in the signature, and append them to the docstring.

    A parameter of the function with the name of an option takes its place.
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    hints = get_type_hints(DownloadOptions)
    names = {parameter.name for parameter in own}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=hint)
        for (name, o), hint in zip(_OPTIONS.items(), hints.values(), strict=True)
        if name not in names
    ]
    shown: Any = function
    shown.__signature__ = signature.replace(parameters=[*own, *added])
    if function.__doc__:  # there is none under -OO
        texts = {"path": _PATH_HELP} if "path" in names else {}
        texts |= {name: o.help for name, o in _OPTIONS.items() if name not in names}
        lines = [f"    {name}: {text}" for name, text in texts.items()]
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__), "", "Options", *lines])
    return function


def option_types() -> dict[str, tuple[Any, Any, str]]:
    """Return the type, the default value and the help text of each option, by its name."""
    hints = get_type_hints(DownloadOptions)
    return {name: (hints[name], option.default, option.help) for name, option in _OPTIONS.items()}


def fill_defaults(options: DownloadOptions) -> DownloadOptions:
    """Return the given options and the defaults of the others; `TypeError` for an unknown name."""
    for name in options:
        if name in _INSTEAD:
            raise TypeError(f"{name!r} is not a download option; {_INSTEAD[name]}.")
        if name not in _OPTIONS:
            raise TypeError(f"{name!r} is not a download option; there are: {', '.join(_OPTIONS)}.")
    return {**_DEFAULTS, **options}


def check_type(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise `ValueError` unless `value` is a `kind`; without its text, which may be a secret."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {expected}, not {type(value).__name__}.")  # noqa: TRY004 - every bad argument of a download is a ValueError


def check_count(name: str, value: object) -> int:
    """Return an integer (or a numpy integer) of at least 1; `ValueError` for anything else."""
    try:
        number = operator.index(cast(Any, value))
    except TypeError:
        number = 0
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name}={value!r} must be an integer of at least 1.")
    return number


def check_seconds(name: str, value: object) -> float:
    """Return a real number above 0 as a float; `ValueError` for anything else, also for NaN."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0:
        raise ValueError(f"{name}={value!r} must be a number of seconds above 0.")
    return float(value)
