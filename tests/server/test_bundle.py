"""The bundler for the browser's scripts: scopes, order, and a clear error for anything else."""

import shutil
import subprocess
from pathlib import Path

import pytest

from vidnb.server.bundle import BundleError, bundle
from vidnb.server.pages import page

NODE = shutil.which("node")


def write(folder: Path, **modules: str) -> Path:
    """Write modules by name and return the entry, `main.js`."""
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, "utf-8")
    return folder / "main.js"


def run(script: str, suffix: str, folder: Path) -> str:
    if NODE is None:
        pytest.skip("node is not installed")
    path = folder / f"bundle.{suffix}"
    path.write_text(script, "utf-8")
    done = subprocess.run(
        [NODE, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_have_scopes_of_their_own_and_run_once_in_order(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    write(tmp_path / "lib", deep='export const VERSION = "deep";\nconsole.log("deep");\n')
    entry = write(
        tmp_path,
        main="// @ts-check\n/** It can `import` and export. */\n\n"
        'import { a, Thing } from "./a.js";\n'
        'import {\n  b,\n} from "./b.js";\n\nconst VERSION = "main";\nconst local = 1;\n'
        "console.log(VERSION, a(), b, new Thing().name, local);\n",
        a='import { VERSION } from "./lib/deep.js";\n'
        "const local = VERSION;\nexport function a() {\n  return local;\n}\n"
        'export class Thing {\n  name = "thing"; // import "x"\n}\n',
        b='import { VERSION } from "./lib/deep.js";\n'
        'const url = "http://host/"; const b = `${VERSION} ${url}`;\nexport { b };\n',
    )
    script = bundle(entry)
    expected = "deep\nmain deep deep http://host/ thing 1\n"
    assert run(script, "cjs", tmp_path) == expected, "without a default it is a classic script"
    assert run(script, "mjs", tmp_path) == expected


def test_the_default_export_of_the_entry_is_that_of_the_bundle(tmp_path: Path) -> None:
    entry = write(
        tmp_path,
        main='import { render } from "./a.js";\n\nexport default { render };\n',
        a="export async function render() {\n  return 7;\n}\n",
    )
    (tmp_path / "bundle.mjs").write_text(bundle(entry), "utf-8")
    use = 'import made from "./bundle.mjs";\nconsole.log(await made.render());\n'
    assert run(use, "use.mjs", tmp_path) == "7\n"


@pytest.mark.parametrize(
    ("modules", "sentence"),
    [
        (
            {"main": 'import { a } from "./a.js";\n', "a": 'import { b } from "./b.js";\n',
             "b": 'import { a } from "./a.js";\n'},
            r"in a cycle: a\.js -> b\.js -> a\.js",
        ),
        ({"main": 'import { x } from "./main.js";\n'}, r"in a cycle: main\.js -> main\.js"),
        (
            {"main": 'import { a, c } from "./a.js";\n', "a": "export const a = 1;\n"},
            r"^main\.js: a\.js does not export c\.$",
        ),
        ({"main": 'import { a } from "./a.js";\n'}, r"a\.js: the module cannot be read \(No such"),
        (
            {"main": 'import { a } from "./a.js";\n', "a": "export default 1;\n"},
            r"^a\.js: only the entry may have a default export\.$",
        ),
        ({"main": "const a = 1;\nexport { a };\nexport { a };\n"}, r"a is exported twice"),
        ({"main": "const a = '</script>';\n"}, "would end or break an inline <script>"),
    ],
)  # fmt: skip
def test_what_cannot_be_bundled_is_an_error(
    tmp_path: Path, modules: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence):
        bundle(write(tmp_path, **modules))


@pytest.mark.parametrize(
    "line",
    [
        'import "./a.js";',
        'import a from "./a.js";',
        'import * as a from "./a.js";',
        'import { a as b } from "./a.js";',
        'import { a } from "https://example.org/a.js";',
        'import { a } from "a.js";',
        "import { a } from './a.js';",
        '  import { a } from "./a.js";',
        'const { a } = await import("./a.js");',
        "const here = import.meta.url;",
        "export let a = 1;",
        "export var a = 1;",
        "export const { a } = {};",
        "export const [a] = [];",
        "export { a as b };",
        'export { a } from "./a.js";',
        'export * from "./a.js";',
        "export default function a() {}",
        '/* a comment */ import { a } from "./a.js";',
        'const text = "//"; export const a = 1;',
    ],
)
def test_any_other_module_syntax_is_an_error(tmp_path: Path, line: str) -> None:
    with pytest.raises(BundleError, match=r"^main\.js: this syntax is not supported: "):
        bundle(write(tmp_path, main=f"const first = 1;\n{line}\n", a="export const a = 1;\n"))


def test_the_pages_carry_what_the_modules_say() -> None:
    """Each page's script is bundled once, from the modules that the widgets use too."""
    made = page.player("a.mp4", "../t/a.mp4", 5, deliveries=[])
    assert made.html.count(b"function keyAction(") == 1
    assert b"import {" not in made.html.replace(b"@typedef {import(", b"")
    assert made.policy.startswith("default-src 'none'; ")
