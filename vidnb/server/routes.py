"""Candidate routes from the browser to the server of this process, from the kernel's environment.

The page skips those that are for other pages, probes the rest and uses the first that responds:

1. A URL template of the user (`VIDNB_URL_TEMPLATE`).
2. Colab's proxy, whose URL only Colab's page knows.
3. A proxy beside the notebook server: at the page's base URL, and of known hosts
   (jupyter-server-proxy, JupyterHub, code-server, SageMaker, Databricks).
4. The loopback URL, for a page from loopback, which prefers it to a proxy: it is the fastest, and
   no other machine's loopback can respond at an unguessable URL.
5. Jupyter's own `/files/`, for a file under the server's root.
6. The kernel's message channel, which is always available and slow.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

__all__ = ["ANY_FILE_NAME", "ROUTE_NAMES", "NotebookHost", "Route", "check_template", "find_routes"]

ROUTE_NAMES: Final = ("template", "colab", "proxy", "direct", "files", "kernel")
"""The names of all routes."""

ANY_FILE_NAME: Final = "~"
"""A placeholder for the file name in a URL: the token before it identifies the file."""

_ABSOLUTE: Final = re.compile(r"https?://[^/?#\s]+/", re.ASCII)


@dataclass(frozen=True, slots=True)
class NotebookHost:
    """The kernel's environment; a field is empty if unknown.

    `template` is `VIDNB_URL_TEMPLATE`, a URL with `{port}` and `{path}`; `proxies` are URL prefixes
    with `{port}`, of known hosts; `server_root` is the folder that Jupyter serves as `/files/`,
    with its links resolved.
    """

    template: str = ""
    is_colab: bool = False
    proxies: tuple[str, ...] = ()
    server_root: str = ""

    @classmethod
    def of(
        cls, environment: Mapping[str, str], *, server_root: str = "", databricks: str = ""
    ) -> "NotebookHost":
        """Read environment variables; `databricks` is `ORG/CLUSTER` of Spark's settings.

        `ValueError` if `VIDNB_URL_TEMPLATE` is not a template; an invalid variable of a host is
        ignored.
        """
        template = environment.get("VIDNB_URL_TEMPLATE", "")
        if template:
            check_template("VIDNB_URL_TEMPLATE", template)
        is_colab = not {"COLAB_RELEASE_TAG", "COLAB_BACKEND_VERSION"}.isdisjoint(environment)
        proxies = tuple(dict.fromkeys(_proxies(environment, databricks)))
        return cls(template, is_colab, proxies, server_root)


def _proxies(environment: Mapping[str, str], databricks: str) -> list[str]:
    found = []
    hub = environment.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if hub.startswith("/") and hub.endswith("/"):
        found.append(f"{hub}proxy/{{port}}/")
    # code-server and similar hosts have {{port}}; some have only a path, or begin with a dot.
    code = environment.get("VSCODE_PROXY_URI", "").replace("{{port}}", "{port}").removeprefix(".")
    code = f"{code.removesuffix('/')}/"
    if "{port}" in code and (code.startswith("/") or _ABSOLUTE.match(code)):
        found.append(code)
    app = environment.get("SAGEMAKER_APP_TYPE", "").lower()
    if app in _SAGEMAKER:
        found.append(_SAGEMAKER[app])
    if re.fullmatch(r"[0-9]+/[0-9A-Za-z-]+", databricks):
        found.append(f"/driver-proxy/o/{databricks}/{{port}}/")
    return found


_SAGEMAKER: Final = {
    "jupyterlab": "/jupyterlab/default/proxy/{port}/",
    "jupyterserver": "/jupyter/default/proxy/{port}/",
    "codeeditor": "/codeeditor/default/ports/{port}/",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A candidate.

    `url` is that of the file, `endpoint` that of the player's message endpoint, empty without one.
    In both, `{base}` is a placeholder for the page's base URL, which only the page knows. `needs`
    is the kind of page that may try it: "" any, "loopback" one that comes from loopback, "colab"
    one of Colab's, which replaces `{colab:PORT}`.
    """

    route: str
    url: str = ""
    endpoint: str = ""
    needs: str = ""

    @property
    def host(self) -> str:
        """The host in the URL of a template or a proxy, which may be the Host of its requests."""
        if self.route not in {"template", "proxy"}:
            return ""
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:  # brackets without an IPv6 address
            return ""


def check_template(what: str, template: str) -> None:
    """Raise `ValueError` unless this is an http(s) URL or a path, with both placeholders."""
    if "{port}" in template and "{path}" in template:
        if template.startswith("/") and not template.startswith("//"):
            return
        if _ABSOLUTE.match(template):
            return
    raise ValueError(
        f"{what} is the URL of a proxy with {{port}} and {{path}} in it, such as "
        f'"https://host/proxy/{{port}}/{{path}}", not {template!r}'
    )


def find_routes(
    host: NotebookHost, url: str, *, endpoint: str = "", path: str = "", route: str = "auto"
) -> list[Route]:
    """Return the candidate routes to the resource at `url`, best first.

    `url` and `endpoint` are loopback URLs, `path` is the absolute path of the file with its links
    resolved, empty for a resource that is not the user's file. `route` is "auto" for all
    candidates, or one of `ROUTE_NAMES` or a template for that one only.
    """
    if "{" in route:
        return [_filled("template", route, url, endpoint)]
    found = []
    if host.template:
        found.append(_filled("template", host.template, url, endpoint))
    if host.is_colab or route == "colab":
        found.append(_filled("colab", "{colab:{port}}/{path}", url, endpoint, needs="colab"))
    proxies = ("{base}proxy/{port}/", *host.proxies)
    found.extend(_filled("proxy", f"{proxy}{{path}}", url, endpoint) for proxy in proxies)
    needs = "" if route == "direct" else "loopback"
    found.append(Route("direct", url, endpoint, needs))
    if relative := _relative(host.server_root, path):
        found.append(Route("files", f"{{base}}files/{relative}"))
    if path:
        found.append(Route("kernel"))
    return [candidate for candidate in found if route in {"auto", candidate.route}]


def _filled(route: str, template: str, url: str, endpoint: str, needs: str = "") -> Route:
    filled = _fill(template, _proxy_safe(url))
    return Route(route, filled, _fill(template, endpoint) if endpoint else "", needs)


def _proxy_safe(url: str) -> str:
    """Return a URL that a proxy can decode and encode again.

    jupyter-server-proxy leaves `#` and `?` unencoded, which would end the path there.
    """
    head, _, name = url.rpartition("/")
    text = unquote_to_bytes(name).decode("utf-8", "replace")
    return f"{head}/{ANY_FILE_NAME}" if any(char in "#?\ufffd" for char in text) else url


def _fill(template: str, url: str) -> str:
    parts = urlsplit(url)
    # The path is percent-encoded, also its braces, so no file name can contain a placeholder.
    return template.replace("{port}", str(parts.port)).replace("{path}", parts.path.lstrip("/"))


def _relative(root: str, path: str) -> str:
    """Return the quoted path of a file relative to the root, "" if Jupyter does not serve it.

    Jupyter hides names that begin with a dot.
    """
    prefix = f"{root.rstrip('/')}/"
    if not root or not path.startswith(prefix):
        return ""
    parts = path.removeprefix(prefix).split("/")
    if any(part.startswith(".") for part in parts):
        return ""
    return "/".join(quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts)
