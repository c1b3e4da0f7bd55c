"""Tests of the candidate routes of each notebook host."""

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
ENDPOINT = "http://127.0.0.1:4321/~/BOX/"
NAME = "TOKEN/a%20%7Bport%7D.mp4"

BASE = Route("proxy", f"{{base}}proxy/4321/{NAME}", "{base}proxy/4321/~/BOX/")
DIRECT = Route("direct", URL, ENDPOINT, "loopback")
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
def test_the_candidates_of_an_environment(
    environment: dict[str, str], expected: list[Route]
) -> None:
    assert (
        find_routes(NotebookHost.of(environment), URL, endpoint=ENDPOINT, path="/data/a.mp4")
        == expected
    )


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [("123/1115-164516-abc42", True), ("", False), ("1/..", False), ("a/b", False)],
)
def test_databricks_has_a_proxy_on_the_driver(cluster: str, expected: bool) -> None:
    found = find_routes(NotebookHost.of({}, databricks=cluster), URL, endpoint=ENDPOINT)
    assert (proxy(f"/driver-proxy/o/{cluster}/4321/") in found) == expected


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
def test_jupyter_serves_files_below_its_root(root: str, path: str, url: str | None) -> None:
    found = find_routes(NotebookHost.of({}, server_root=root), URL, endpoint=ENDPOINT, path=path)
    files = [route for route in found if route.route == "files"]
    assert files == ([] if url is None else [Route("files", url)])
    if files:
        assert [route.route for route in found] == ["proxy", "direct", "files", "kernel"]


def test_a_resource_without_a_path_has_no_files_and_no_kernel_route() -> None:
    assert find_routes(NotebookHost.of({}, server_root="/"), URL) == [
        Route("proxy", f"{{base}}proxy/4321/{NAME}"),
        Route("direct", URL, "", "loopback"),
    ]


@pytest.mark.parametrize(
    ("name", "is_safe"),
    [("a%20b.mp4", True), ("100%25.mp4", True), ("%C3%9C&%2B.mp4", True), ("%3F.mp4", False),
     ("a%231.mp4", False), ("%FF.mp4", False)],
)  # fmt: skip
def test_a_name_that_a_proxy_would_break_is_replaced(name: str, is_safe: bool) -> None:
    url = f"http://127.0.0.1:4321/TOKEN/{name}"
    found = find_routes(NotebookHost.of({}), url)
    assert found[0].url == "{base}proxy/4321/TOKEN/" + (name if is_safe else ANY_FILE_NAME)
    assert found[1].url == url


@pytest.mark.parametrize("route", ROUTE_NAMES)
def test_one_route_may_be_selected(route: str) -> None:
    template = {"VIDNB_URL_TEMPLATE": "/x/{port}/{path}"}
    host = NotebookHost.of(template, server_root="/data")
    found = find_routes(host, URL, endpoint=ENDPOINT, path="/data/a.mp4", route=route)
    assert [route.route for route in found] == [route]


def test_a_selected_direct_route_is_for_every_page() -> None:
    assert find_routes(NotebookHost.of({}), URL, endpoint=ENDPOINT, route="direct") == [
        Route("direct", URL, ENDPOINT)
    ]


def test_a_selected_template_is_the_only_candidate() -> None:
    found = find_routes(
        NotebookHost.of({}), URL, endpoint=ENDPOINT, path="/a.mp4", route="/p/{port}/{path}"
    )
    assert found == [Route("template", f"/p/4321/{NAME}", "/p/4321/~/BOX/")]


@pytest.mark.parametrize(
    "template",
    ["https://h/{port}", "https://h/{path}", "javascript:{port}{path}", "//h/{port}/{path}",
     "h/{port}/{path}", "https:///{port}/{path}", "ftp://h/{port}/{path}",
     "https://h h/{port}/{path}"],
)  # fmt: skip
def test_an_invalid_template_is_an_error(template: str) -> None:
    with pytest.raises(ValueError, match="VIDNB_URL_TEMPLATE is the URL of a proxy with"):
        NotebookHost.of({"VIDNB_URL_TEMPLATE": template})


@pytest.mark.parametrize(
    "template", ["/{port}/{path}", "http://h:1/{port}/{path}", "https://{port}.h/{path}"]
)
def test_a_valid_template_is_accepted(template: str) -> None:
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
def test_the_host_of_a_route(route: str, url: str, host: str) -> None:
    assert Route(route, url).host == host
