"""Bundle JavaScript modules (ESM) into the one script of a widget or a page, without node.

The bundler accepts a subset of the syntax and raises `BundleError` on anything else:

- imports at the top of the file, each `import { a, b } from "./other.js";`;
- `export function`, `export async function`, `export class`, `export const NAME` at the start of a
  line, and `export { a, b };`;
- in the entry alone `export default EXPRESSION;`.

Each module becomes a function, so that names in two modules never clash. It runs once, after the
modules it imports; a cycle of imports is an error.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["SCRIPTS", "BundleError", "bundle"]

SCRIPTS: Final = Path(__file__).parent.parent / "widgets" / "js"
"""The folder of the JavaScript modules that the widgets and the pages share."""

_NAME: Final = r"[A-Za-z_$][\w$]*"
_NAMES: Final = rf"\{{(\s*{_NAME}(?:,\s*{_NAME})*,?\s*)\}}"
_IMPORT: Final = re.compile(rf'^import {_NAMES} from "(\.\.?/[\w./-]+\.js)";\n', re.MULTILINE)
_DECLARED: Final = re.compile(
    rf"^export (?=(?:async function|function|class|const) ({_NAME})\b)", re.MULTILINE
)
_LISTED: Final = re.compile(rf"^export {_NAMES};\n", re.MULTILINE)
_DEFAULT: Final = re.compile(r"^export default (.+);\n", re.MULTILINE)
# Strings come first, so that "//" inside one begins no comment.
_NOT_CODE: Final = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`(?:\\.|[^`\\])*`|//[^\n]*|/\*.*?\*/', re.DOTALL
)
_MODULE_SYNTAX: Final = re.compile(r"^.*(?<![\w$.])(?:import|export)(?![\w$]).*$", re.MULTILINE)
_CLOSES_SCRIPT: Final = re.compile(r"</script|<!--", re.IGNORECASE)


class BundleError(ValueError):
    """A module is missing or uses syntax that the bundler does not accept."""


class _Module(NamedTuple):
    imports: list[tuple[Path, list[str]]]
    exports: list[str]
    default: str
    body: str


def bundle(entry: Path) -> str:
    """Return one script with the module `entry` (UTF-8) and all that it imports.

    Without a default export in the entry it is a classic script too, which may be inline.
    `BundleError` names the file and the line at fault.
    """
    modules: dict[Path, _Module] = {}
    _collect(entry.resolve(), modules, [])
    names = {path: f"${number}" for number, path in enumerate(modules)}
    parts = ['"use strict";\n']
    for path, module in modules.items():
        head = "".join(
            f"const {{ {', '.join(imported)} }} = {names[source]};\n"
            for source, imported in module.imports
        )
        exported = ", ".join(module.exports)
        parts.append(
            f"// {path.name}\nconst {names[path]} = (() => {{\n{head}{module.body}\n"
            f"return {{ {exported} }};\n}})();\n"
        )
    last = modules[entry.resolve()]
    if last.default:
        parts.append(f"export default {names[entry.resolve()]}.default;\n")
    return "".join(parts)


def _collect(path: Path, modules: dict[Path, _Module], chain: list[Path]) -> None:
    """Add `path` to `modules` behind all that it imports; `chain` are the modules that led here."""
    if path in modules:
        return
    if path in chain:
        cycle = " -> ".join(step.name for step in (*chain[chain.index(path) :], path))
        raise BundleError(f"The modules import each other in a cycle: {cycle}.")
    module = _parse(path, is_entry=not chain)
    for source, imported in module.imports:
        _collect(source, modules, [*chain, path])
        missing = [name for name in imported if name not in modules[source].exports]
        if missing:
            raise BundleError(f"{path.name}: {source.name} does not export {', '.join(missing)}.")
    modules[path] = module


def _parse(path: Path, *, is_entry: bool) -> _Module:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(f"{path}: the module cannot be read ({error.strerror}).") from error
    if _CLOSES_SCRIPT.search(text):
        raise BundleError(f"{path.name}: the text would end or break an inline <script>.")
    imports = [
        ((path.parent / source).resolve(), _split(names)) for names, source in _IMPORT.findall(text)
    ]
    exports = _DECLARED.findall(text)
    for names in _LISTED.findall(text):
        exports += _split(names)
    default = _DEFAULT.search(text)
    if default and not is_entry:
        raise BundleError(f"{path.name}: only the entry may have a default export.")
    body = _LISTED.sub("", _DECLARED.sub("", _IMPORT.sub("", text)))
    if default:
        body = _DEFAULT.sub("", body)
        exports.append(f"default: {default[1]}")
    twice = sorted({name for name in exports if exports.count(name) > 1})
    if twice:
        raise BundleError(f"{path.name}: {', '.join(twice)} is exported twice.")
    left = _MODULE_SYNTAX.search(_NOT_CODE.sub("", body))
    if left:
        raise BundleError(f"{path.name}: this syntax is not supported: {left[0].strip()}")
    return _Module(imports, exports, default[1] if default else "", body.rstrip())


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
