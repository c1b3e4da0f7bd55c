"""What this process knows of its surroundings, for `core.routes` to judge."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from vidnb.server.routes import NotebookHost

__all__ = ["this_host"]


def this_host() -> NotebookHost:
    """Return what is known now; `ValueError` where `VIDNB_URL_TEMPLATE` is no template."""
    return NotebookHost.of(os.environ, server_root=_server_root(), databricks=_databricks())


def _server_root() -> str:
    """Return the folder of the Jupyter server that started this kernel, with its links resolved.

    The server leaves a note under its process number, which the kernel is told. Where the notebook
    was started in another way, there is none; another server's folder would be the wrong one.
    """
    parent = os.environ.get("JPY_PARENT_PID", "")
    if not parent.isascii() or not parent.isdigit():
        return ""
    try:
        from jupyter_core.paths import jupyter_runtime_dir

        note = Path(jupyter_runtime_dir()) / f"jpserver-{int(parent)}.json"
        root = json.loads(note.read_text("utf-8"))["root_dir"]
        return str(os.path.realpath(root, strict=True))
    except (ImportError, OSError, ValueError, KeyError, TypeError):
        return ""


def _databricks() -> str:
    """Return `ORG/CLUSTER` of a Databricks driver, as Spark's settings name them."""
    sql: Any = sys.modules.get("pyspark.sql")  # asked only where somebody else has loaded it
    if sql is None or "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        return ""
    try:
        conf = sql.SparkSession.getActiveSession().conf
        names = ("clusterOwnerOrgId", "clusterId")
        return "/".join(conf.get(f"spark.databricks.clusterUsageTags.{name}") for name in names)
    except Exception:  # noqa: BLE001 - Spark raises what it likes, and the road is one of many
        return ""
