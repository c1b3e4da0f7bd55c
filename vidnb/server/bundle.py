"""The player's script for the browser: its modules joined into the one that a widget has.

They are plain ESM that a browser, node and a type checker read as they are; only their imports of
each other are left out here, and each module stands behind the ones it imports.
"""

import re
from pathlib import Path
from typing import Final

__all__ = ["SCRIPTS", "bundle"]

SCRIPTS: Final = Path(__file__).parent.parent / "widgets" / "js"
"""The folder of the JavaScript modules that the widgets and the pages share."""

_DEFAULT: Final = re.compile(r"^export default .*;\n", re.MULTILINE)
_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)


def bundle(entry: Path) -> str:
    """Return the module `entry` (UTF-8) with all it imports from beside it, each once.

    The widget is what `entry` exports by default; a widget that it builds upon is none any more.
    """
    seen: dict[str, str] = {}

    def add(name: str) -> None:
        text = entry.with_name(name).read_text(encoding="utf-8")
        seen[name] = ""  # two modules that import each other are no reason to go round
        for imported in _IMPORT.findall(text):
            if imported not in seen:
                add(imported)
        del seen[name]  # it stands behind what it imports
        own = text if name == entry.name else _DEFAULT.sub("", text)
        seen[name] = _IMPORT.sub("", own)

    add(entry.name)
    return "\n".join(seen.values())
