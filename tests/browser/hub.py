"""JupyterHub with its own proxy; one of its users has no jupyter-server-proxy."""

import os
import secrets
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page

from tests.assets import hub_proxy, jupyterhub
from tests.browser.lab import ServerProcess, run_all
from tests.deadline import DEADLINE_S
from tests.network import free_port

WITHOUT_PROXY = "plain"
"""The user whose server has no jupyter-server-proxy."""

CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = [{node!r}, {proxy!r}]
c.JupyterHub.db_url = "sqlite:///{private}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{private}/cookie"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{private}/home/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.notebook_dir = {root!r}
c.Spawner.environment = {environment!r}
c.Spawner.http_timeout = c.Spawner.start_timeout = {deadline_s}

def without_proxy(spawner):
    off = "--ServerApp.jpserver_extensions={{'jupyter_server_proxy': False}}"
    spawner.args = ["--allow-root"] + [off] * (spawner.user.name == {without!r})

c.Spawner.pre_spawn_hook = without_proxy
"""


class Hub(ServerProcess):
    """A hub whose single-user servers are local processes."""

    application = "jupyterhub"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.password = secrets.token_hex(16)
        self._packages = jupyterhub()
        self._config = self.private / "jupyterhub_config.py"
        inherited = (*super().environment(), "PATH", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")
        variables = {**os.environ, **self.environment()}
        config = CONFIG.format(
            port=self.port,
            deadline_s=int(DEADLINE_S),
            hub_port=free_port(),
            api_port=free_port(),
            node=shutil.which("node"),
            proxy=str(hub_proxy()),
            private=self.private,
            password=self.password,
            python=sys.executable,
            root=str(root),
            environment={name: variables[name] for name in inherited if name in variables},
            without=WITHOUT_PROXY,
        )
        self._config.write_text(config, encoding="utf-8")

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", self.application, "--config", str(self._config)]

    def environment(self) -> dict[str, str]:
        """Return the environment variables to set."""
        paths = [str(self._packages), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, paths))
        return {**super().environment(), "PYTHONPATH": path}

    def health_url(self) -> str:
        """Return a URL that responds once the server has started."""
        return f"http://127.0.0.1:{self.port}/hub/health"


class HubUser:
    """A user of a hub, whose server starts at the first sign-in."""

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub = hub
        self._name = name
        self.root = hub.root

    def url(self, notebook: str, host: str, workspace: str) -> str:
        """Return the URL that opens a notebook after the sign-in."""
        next_url = f"%2Fuser%2F{self._name}%2Flab%2Fworkspaces%2F{workspace}%2Ftree%2F{notebook}"
        return f"http://{host}:{self._hub.port}/hub/login?next=%2Fhub%2Fspawn%3Fnext%3D{next_url}"

    def run_all(self, page: Page) -> None:
        """Sign in, wait for the server, and run all cells of the notebook."""
        page.get_by_label("Username").fill(self._name)
        page.get_by_label("Password").fill(self._hub.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/lab/**")
        run_all(page)
