"""The routes of one player, from what this process knows of the host that its kernel runs on."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vidnb.http.allowed_hosts import AllowedHosts
from vidnb.server.growing_source import GrowingSource
from vidnb.server.routes import ROUTE_NAMES, NotebookHost, Route, check_template, find_routes
from vidnb.server.server import Served
from vidnb.server.sources import FileSource
from vidnb.widgets.player.channel import MessageChannel

if TYPE_CHECKING:
    from vidnb.server.registry import FileResource

__all__ = ["Routes", "notebook_host"]


class _HasHosts(Protocol):
    """A served file or a message endpoint: `hosts` are the names that a request may use."""

    hosts: AllowedHosts


class Routes:
    """The routes of one player, to its video and to what belongs to it; each a dict for the page.

    `route` is "auto", a route's name or a URL template; `ValueError` for another. `resources`
    are the files that may be sent over the comm, by the names that the page uses.

    Who names a proxy's URL allows its host to request what belongs to this player. So does a page
    that reports its own host, here and for the players that are made later.
    """

    _page_hosts: ClassVar[AllowedHosts] = AllowedHosts()

    def __init__(self, route: str) -> None:
        _check_route(route)
        self._route = route
        self._host = notebook_host()
        self.resources: dict[str, FileResource] = {}
        self._with_hosts: list[_HasHosts] = []

    def allow_page_host(self, host: object) -> None:
        """Allow requests under the host of a page; ignored if it is no valid host.

        Only for messages of the comm, to which no other site has access.
        """
        Routes._page_hosts = Routes._page_hosts.with_names([host])
        for resource in self._with_hosts:
            resource.hosts = resource.hosts.with_names([host])

    def _allow_hosts(self, resource: _HasHosts, routes: list[Route]) -> None:
        names = (*(route.host for route in routes if route.host), *self._page_hosts.names)
        resource.hosts = resource.hosts.with_names(names)
        self._with_hosts.append(resource)

    def to_video(self, served: Served, channel: MessageChannel) -> list[dict[str, Any]]:
        """Return the candidates for the video, best first; `channel` is that of the player."""
        resource = served._resource  # noqa: SLF001 - of the same package
        self.resources["video"], source = resource, resource.source
        path = source.path if isinstance(source, FileSource) else ""
        if isinstance(source, GrowingSource):
            path = served.url  # a path makes the comm a candidate, for its segments
        routes = find_routes(
            self._host, served.url, endpoint=channel.url, path=path, route=self._route
        )
        self._allow_hosts(resource, routes)
        self._allow_hosts(channel.endpoint, routes)
        # Another file of this name at Jupyter's `/files/` has another size.
        return [{**_as_dict(route), "size_bytes": served.size_bytes} for route in routes]

    def to_resource(self, served: Served, name: str) -> list[dict[str, Any]]:
        """Return the candidates for a poster or subtitles; the page uses the video's route."""
        resource = served._resource  # noqa: SLF001 - of the same package
        self.resources[name] = resource
        # The file is not below Jupyter's root; a path makes the comm a candidate.
        routes = find_routes(self._host, served.url, path=served.url, route=self._route)
        self._allow_hosts(resource, routes)
        return [{**_as_dict(route), "resource": name} for route in routes if route.route != "files"]


def _as_dict(route: Route) -> dict[str, Any]:
    keys = ("route", "url", "endpoint", "needs")
    return dict(zip(keys, (route.route, route.url, route.endpoint, route.needs), strict=True))


def _check_route(route: str) -> None:
    if "{" in route:
        check_template("route", route)
    elif route not in {"auto", *ROUTE_NAMES}:
        known = ", ".join(f'"{name}"' for name in ("auto", *ROUTE_NAMES))
        raise ValueError(
            f"route is one of {known}, or the URL of a proxy with {{port}} and {{path}} in it, "
            f'such as "https://host/proxy/{{port}}/{{path}}", not {route!r}'
        )


def notebook_host() -> NotebookHost:
    """Return what is known of the host; `ValueError` for an invalid `VIDNB_URL_TEMPLATE`."""
    return NotebookHost.of(os.environ, server_root=_server_root(), databricks=_databricks())


def _server_root() -> str:
    """Return the root folder of the Jupyter server that started this kernel, links resolved.

    The server writes a file under its process number, which it passes to the kernel. A kernel that
    was started in another way has none; another server's root folder would be wrong.
    """
    parent = os.environ.get("JPY_PARENT_PID", "")
    if not parent.isascii() or not parent.isdigit():
        return ""
    try:
        from jupyter_core.paths import jupyter_runtime_dir

        info = Path(jupyter_runtime_dir()) / f"jpserver-{int(parent)}.json"
        root = json.loads(info.read_text("utf-8"))["root_dir"]
        return str(os.path.realpath(root, strict=True))
    except (ImportError, OSError, ValueError, KeyError, TypeError):
        return ""


def _databricks() -> str:
    """Return `ORG/CLUSTER` of a Databricks driver, as Spark's settings name them."""
    sql: Any = sys.modules.get("pyspark.sql")  # only where it is loaded already
    if sql is None or "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        return ""
    try:
        conf = sql.SparkSession.getActiveSession().conf
        names = ("clusterOwnerOrgId", "clusterId")
        return "/".join(conf.get(f"spark.databricks.clusterUsageTags.{name}") for name in names)
    except Exception:  # noqa: BLE001 - Spark raises anything, and this route is one of many
        return ""
