"""The floors hold: imports go down only, in no circle, and the core stays pure."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vidnb"
MODULES = {
    ".".join(["vidnb", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_notebooks" not in path.parts and "data" not in path.parts
}
FLOORS = {"errors": 1, "core": 2, "io": 3, "engine": 4, "notebook": 5, "cli": 5, "seed": 5}
IMPURE = {
    "aiofiles", "aiohttp", "asyncio", "anywidget", "concurrent", "http", "io", "ipywidgets",
    "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil",
    "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip
CORE = [name for name in MODULES if name.startswith("vidnb.core.")]


def floor(module: str) -> int:
    """Number a module's floor; the face is on top."""
    parts = module.split(".")
    return FLOORS[parts[1]] if len(parts) > 1 and parts[1] in FLOORS else 6


def imports(module: str) -> set[str]:
    """Return every module named by an import of this one, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            base = node.module or ""
            found |= {
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
                for alias in node.names
            }
    return found


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module: str) -> None:
    """No module imports from a floor above its own."""
    for name in ours(module):
        assert floor(name) <= floor(module), f"{module} imports {name} from a floor above"


def test_there_is_no_circle() -> None:
    """The imports can be put in an order, whatever stands inside functions included."""
    graph = {module: ours(module) - {module} for module in MODULES}
    # The face names its modules for type checkers and loads them lazily; the command line and
    # `python -m` use the face. Nothing else may.
    for module, names in graph.items():
        if module not in {"vidnb.cli", "vidnb.__main__"}:
            assert "vidnb" not in names, f"{module} imports the face"
    graph["vidnb"] = set()
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", CORE)
def test_the_core_is_pure(module: str) -> None:
    """Nothing in core/ touches a clock, a die, a file, a socket or a third party."""
    tops = {name.partition(".")[0] for name in imports(module)}
    assert not tops & IMPURE
    import sys

    assert tops <= set(sys.stdlib_module_names) | {"vidnb"}


@pytest.mark.parametrize("module", CORE)
def test_the_core_opens_nothing(module: str) -> None:
    """No call of `open`, `print` or `input` in core/."""
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval"}


def test_every_floor_is_there() -> None:
    """The rules above look at real modules."""
    assert {floor(module) for module in MODULES} == {1, 2, 3, 4, 5, 6}
    assert len(CORE) > 10
