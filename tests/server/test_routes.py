"""Which roads an environment offers: a table, host by host."""

import pytest

from vidnb.server.routes import (
    ANY_FILE_NAME,
    ROUTE_NAMES,
    NotebookHost,
    Route,
    check_template,
    find_routes,
)

URL = "http://127.0.0.1:4321/TOKEN/a%20%7Bport%7D.mp4"
BOX = "http://127.0.0.1:4321/~/BOX/"
NAME = "TOKEN/a%20%7Bport%7D.mp4"

BASE = Route("proxy", f"{{base}}proxy/4321/{NAME}", "{base}proxy/4321/~/BOX/")
DIRECT = Route("direct", URL, BOX, "loopback")
KERNEL = Route("kernel")


def proxy(prefix: str) -> Route:
    return Route("proxy", f"{prefix}{NAME}", f"{prefix}~/BOX/")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [BASE, DIRECT, KERNEL]),
        (
            {"VIDNB_URL_TEMPLATE": "https://h/x/{port}/{path}?k=1"},
            [
                Route("template", f"https://h/x/4321/{NAME}?k=1", "https://h/x/4321/~/BOX/?k=1"),
                BASE,
                DIRECT,
                KERNEL,
            ],
        ),
        (
            {"COLAB_RELEASE_TAG": "r"},
            [
                Route("colab", f"{{colab:4321}}/{NAME}", "{colab:4321}/~/BOX/", "colab"),
                BASE,
                DIRECT,
                KERNEL,
            ],
        ),
        (
            {"JUPYTERHUB_SERVICE_PREFIX": "/user/me/"},
            [BASE, proxy("/user/me/proxy/4321/"), DIRECT, KERNEL],
        ),
        ({"JUPYTERHUB_SERVICE_PREFIX": "user/me"}, [BASE, DIRECT, KERNEL]),
        ({"JUPYTERHUB_SERVICE_PREFIX": ""}, [BASE, DIRECT, KERNEL]),
        (
            {"VSCODE_PROXY_URI": "https://code.example/proxy/{{port}}/"},
            [BASE, proxy("https://code.example/proxy/4321/"), DIRECT, KERNEL],
        ),
        (
            {"VSCODE_PROXY_URI": "https://{{port}}--me.example"},
            [BASE, proxy("https://4321--me.example/"), DIRECT, KERNEL],
        ),
        (
            {"VSCODE_PROXY_URI": "./proxy/{{port}}"},
            [BASE, proxy("/proxy/4321/"), DIRECT, KERNEL],
        ),
        ({"VSCODE_PROXY_URI": "https://code.example/"}, [BASE, DIRECT, KERNEL]),
        ({"VSCODE_PROXY_URI": "javascript:{{port}}"}, [BASE, DIRECT, KERNEL]),
        (
            {"SAGEMAKER_APP_TYPE": "JupyterLab"},
            [BASE, proxy("/jupyterlab/default/proxy/4321/"), DIRECT, KERNEL],
        ),
        (
            {"SAGEMAKER_APP_TYPE": "JupyterServer"},
            [BASE, proxy("/jupyter/default/proxy/4321/"), DIRECT, KERNEL],
        ),
        (
            {"SAGEMAKER_APP_TYPE": "CodeEditor"},
            [BASE, proxy("/codeeditor/default/ports/4321/"), DIRECT, KERNEL],
        ),
        ({"SAGEMAKER_APP_TYPE": "KernelGateway"}, [BASE, DIRECT, KERNEL]),
        (
            {
                "JUPYTERHUB_SERVICE_PREFIX": "/jupyterlab/default/",
                "SAGEMAKER_APP_TYPE": "jupyterlab",
            },
            [BASE, proxy("/jupyterlab/default/proxy/4321/"), DIRECT, KERNEL],
        ),
    ],
)
def test_an_environment_offers_its_roads(
    environment: dict[str, str], expected: list[Route]
) -> None:
    assert find_routes(NotebookHost.of(environment), URL, box=BOX, path="/data/a.mp4") == expected


@pytest.mark.parametrize(
    ("cluster", "offered"),
    [("123/1115-164516-abc42", True), ("", False), ("1/..", False), ("a/b", False)],
)
def test_databricks_has_a_proxy_on_its_driver(cluster: str, offered: bool) -> None:
    found = find_routes(NotebookHost.of({}, databricks=cluster), URL, box=BOX)
    assert (proxy(f"/driver-proxy/o/{cluster}/4321/") in found) == offered


@pytest.mark.parametrize(
    ("root", "path", "url"),
    [
        ("/home/me", "/home/me/a.mp4", "{base}files/a.mp4"),
        ("/home/me/", "/home/me/a.mp4", "{base}files/a.mp4"),
        ("/", "/a/b.mp4", "{base}files/a/b.mp4"),
        (
            "/home/me",
            "/home/me/Ü b/100% #1?&{port}.mp4",
            "{base}files/%C3%9C%20b/100%25%20%231%3F%26%7Bport%7D.mp4",
        ),
        ("/home/me", "/home/me/\udcff.mp4", "{base}files/%FF.mp4"),
        ("/home/me", "/home/me2/a.mp4", None),
        ("/home/me", "/media/a.mp4", None),
        ("/home/me", "/home/me/.vidnb/a.mp4", None),
        ("/home/me", "/home/me/.a.mp4", None),
        ("", "/home/me/a.mp4", None),
        ("/home/me", "", None),
    ],
)
def test_jupyter_serves_what_lies_below_its_root(root: str, path: str, url: str | None) -> None:
    found = find_routes(NotebookHost.of({}, server_root=root), URL, box=BOX, path=path)
    files = [road for road in found if road.route == "files"]
    assert files == ([] if url is None else [Route("files", url)])
    if files:
        assert [road.route for road in found] == ["proxy", "direct", "files", "kernel"]


def test_what_is_no_file_of_the_persons_takes_no_road_of_files() -> None:
    """Subtitles and posters have no player of their own that the kernel could answer."""
    assert find_routes(NotebookHost.of({}, server_root="/"), URL) == [
        Route("proxy", f"{{base}}proxy/4321/{NAME}"),
        Route("direct", URL, "", "loopback"),
    ]


@pytest.mark.parametrize(
    ("name", "passes"),
    [("a%20b.mp4", True), ("100%25.mp4", True), ("%C3%9C&%2B.mp4", True), ("%3F.mp4", False),
     ("a%231.mp4", False), ("%FF.mp4", False)],
)  # fmt: skip
def test_a_name_that_no_proxy_hands_on_is_left_out(name: str, passes: bool) -> None:
    url = f"http://127.0.0.1:4321/TOKEN/{name}"
    found = find_routes(NotebookHost.of({}), url)
    assert found[0].url == "{base}proxy/4321/TOKEN/" + (name if passes else ANY_FILE_NAME)
    assert found[1].url == url


@pytest.mark.parametrize("route", ROUTE_NAMES)
def test_one_road_may_be_asked_for(route: str) -> None:
    template = {"VIDNB_URL_TEMPLATE": "/x/{port}/{path}"}
    host = NotebookHost.of(template, server_root="/data")
    found = find_routes(host, URL, box=BOX, path="/data/a.mp4", route=route)
    assert [road.route for road in found] == [route]


def test_whoever_asks_for_the_direct_road_gets_it_on_every_page() -> None:
    assert find_routes(NotebookHost.of({}), URL, box=BOX, route="direct") == [
        Route("direct", URL, BOX)
    ]


def test_a_template_is_taken_alone() -> None:
    found = find_routes(NotebookHost.of({}), URL, box=BOX, path="/a.mp4", route="/p/{port}/{path}")
    assert found == [Route("template", f"/p/4321/{NAME}", "/p/4321/~/BOX/")]


@pytest.mark.parametrize(
    "template",
    ["https://h/{port}", "https://h/{path}", "javascript:{port}{path}", "//h/{port}/{path}",
     "h/{port}/{path}", "https:///{port}/{path}", "ftp://h/{port}/{path}",
     "https://h h/{port}/{path}"],
)  # fmt: skip
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="VIDNB_URL_TEMPLATE is the address of a proxy with"):
        NotebookHost.of({"VIDNB_URL_TEMPLATE": template})


@pytest.mark.parametrize(
    "template", ["/{port}/{path}", "http://h:1/{port}/{path}", "https://{port}.h/{path}"]
)
def test_what_is_a_template_is_taken(template: str) -> None:
    check_template("route", template)


@pytest.mark.parametrize(
    ("route", "url", "host"),
    [
        ("template", "https://Hub.Example:8443/9/x", "hub.example"),
        ("template", "/p/9/x", ""),
        ("template", "http://[hub/9/x", ""),
        ("proxy", "https://9.code.example/x", "9.code.example"),
        ("proxy", "{base}proxy/9/x", ""),
        ("direct", "http://127.0.0.1:9/x", ""),
        ("files", "{base}files/x", ""),
    ],
)
def test_a_road_tells_the_host_that_somebody_named(route: str, url: str, host: str) -> None:
    assert Route(route, url).host == host
