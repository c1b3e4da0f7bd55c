"""Which roads may lead from a browser to the server of this process, and in which order.

The kernel knows its surroundings, the browser knows its page; neither alone knows which road is
open. So what is decided here are candidates, best first, from what the kernel's environment says.
The page leaves out those that cannot be its own, asks the others for a sign of life, and takes the
first that gives it.

1. An address that the person gave (`VIDNB_URL_TEMPLATE`), since nobody knows better.
2. Colab's own proxy, which only Colab's page can name.
3. A proxy beside the notebook server: the page's base URL and what hosts are known to use
   (jupyter-server-proxy, JupyterHub, code-server, SageMaker, Databricks).
4. The loopback address itself, for a page that comes from loopback too. Such a page takes it before
   any proxy: it is the fastest, and a sign of life from behind an unguessable address cannot come
   from another machine's loopback.
5. Jupyter's own `/files/`, for a file under the server's root.
6. The kernel's own channel, which is always there and slow.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

__all__ = ["ANY_FILE_NAME", "ROUTE_NAMES", "NotebookHost", "Route", "check_template", "find_routes"]

ROUTE_NAMES: Final = ("template", "colab", "proxy", "direct", "files", "kernel")
"""The names of all roads."""

ANY_FILE_NAME: Final = "~"
"""What may stand for a file's name in its address: the token before it says which file it is."""

_ABSOLUTE: Final = re.compile(r"https?://[^/?#\s]+/", re.ASCII)


@dataclass(frozen=True, slots=True)
class NotebookHost:
    """What is known of where the kernel runs; every field empty where nothing is."""

    template: str = ""
    """`VIDNB_URL_TEMPLATE`: an address with `{port}` and `{path}`."""

    is_colab: bool = False
    proxies: tuple[str, ...] = ()
    """Beginnings of addresses with `{port}`, behind which a path follows; of known hosts."""

    server_root: str = ""
    """The folder that Jupyter serves below `/files/`, with its links resolved."""

    @classmethod
    def of(
        cls, environment: Mapping[str, str], *, server_root: str = "", databricks: str = ""
    ) -> "NotebookHost":
        """Read an environment. `databricks` is `ORG/CLUSTER` as Spark's settings name them.

        `ValueError` where `VIDNB_URL_TEMPLATE` is no template; what a host itself set and cannot
        be used is left out.
        """
        template = environment.get("VIDNB_URL_TEMPLATE", "")
        if template:
            check_template("VIDNB_URL_TEMPLATE", template)
        return cls(
            template=template,
            is_colab=any(
                name in environment for name in ("COLAB_RELEASE_TAG", "COLAB_BACKEND_VERSION")
            ),
            proxies=tuple(dict.fromkeys(_proxies(environment, databricks))),
            server_root=server_root,
        )


def _proxies(environment: Mapping[str, str], databricks: str) -> list[str]:
    found = []
    hub = environment.get("JUPYTERHUB_SERVICE_PREFIX", "")
    if hub.startswith("/") and hub.endswith("/"):
        found.append(f"{hub}proxy/{{port}}/")
    # code-server and its relatives write {{port}}; some name a path alone, or begin with a dot.
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
    """One candidate.

    `url` leads to the file and `box` to the player's mailbox, where letters and pings go; empty
    where this road has none. `{base}` in them stands for the page's base URL, which only the page
    knows. `needs` says which page may try it: "" any, "loopback" one that comes from loopback,
    "colab" one of Colab's, which fills in `{colab:PORT}`.
    """

    route: str
    url: str = ""
    box: str = ""
    needs: str = ""

    @property
    def host(self) -> str:
        """The host that its address names, if somebody named it: a proxy may pass that name on."""
        if self.route not in {"template", "proxy"}:
            return ""
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:  # brackets around no address
            return ""


def check_template(what: str, template: str) -> None:
    """Raise `ValueError` unless this is an address of http(s), or a path, with both its places."""
    if "{port}" in template and "{path}" in template:
        if template.startswith("/") and not template.startswith("//"):
            return
        if _ABSOLUTE.match(template):
            return
    raise ValueError(
        f"{what} is the address of a proxy with {{port}} and {{path}} in it, such as "
        f'"https://host/proxy/{{port}}/{{path}}", not {template!r}'
    )


def find_routes(
    host: NotebookHost, url: str, *, box: str = "", path: str = "", route: str = "auto"
) -> list[Route]:
    """Return the candidates for what is served at `url`, in the order in which to prefer them.

    `url` and `box` are addresses on loopback, `path` is the file's own, absolute, with its links
    resolved, or empty for what is no file of the person's. `route` is "auto" for all of them, one
    of `ROUTE_NAMES`, or a template; then that alone.
    """
    if "{" in route:
        return [_filled("template", route, url, box)]
    found = []
    if host.template:
        found.append(_filled("template", host.template, url, box))
    if host.is_colab or route == "colab":
        found.append(_filled("colab", "{colab:{port}}/{path}", url, box, needs="colab"))
    proxies = ("{base}proxy/{port}/", *host.proxies)
    found.extend(_filled("proxy", f"{proxy}{{path}}", url, box) for proxy in proxies)
    needs = "" if route == "direct" else "loopback"
    found.append(Route("direct", url, box, needs))
    if below := _below(host.server_root, path):
        found.append(Route("files", f"{{base}}files/{below}"))
    if path:
        found.append(Route("kernel"))
    return [road for road in found if route in {"auto", road.route}]


def _filled(route: str, template: str, url: str, box: str, needs: str = "") -> Route:
    filled = _fill(template, _plain(url))
    return Route(route, filled, _fill(template, box) if box else "", needs)


def _plain(url: str) -> str:
    """Return the address under which a file passes a proxy that unquotes and quotes its path.

    jupyter-server-proxy does so and leaves `#` and `?` unquoted, which would end the path there.
    """
    head, _, name = url.rpartition("/")
    text = unquote_to_bytes(name).decode("utf-8", "replace")
    return f"{head}/{ANY_FILE_NAME}" if any(char in "#?\ufffd" for char in text) else url


def _fill(template: str, url: str) -> str:
    parts = urlsplit(url)
    # The path is percent-encoded, braces and all, so no file name can hold a placeholder.
    return template.replace("{port}", str(parts.port)).replace("{path}", parts.path.lstrip("/"))


def _below(root: str, path: str) -> str:
    """Return the quoted path of a file below the root, empty where it is not below it.

    A name that begins with a dot is one that Jupyter hides.
    """
    top = f"{root.rstrip('/')}/"
    if not root or not path.startswith(top):
        return ""
    parts = path.removeprefix(top).split("/")
    if any(part.startswith(".") for part in parts):
        return ""
    return "/".join(quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts)
