"""Imports point down the layer list of docs/architecture.md; this parses every import and enforces it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import uwsgirouter

PACKAGE = Path(uwsgirouter.__file__).parent

LAYERS = [
    "__main__",
    "cli",
    "control",
    "master",
    "worker",
    "stats",
    "local",
    "rules",
    "mappers",
    "balancers",
    "scripting",
    "cache",
    "model",
    "announce",
    "protocol",
    "settings",
    "log",
    "errors",
    "compiled",
]
"""From the top down. A module may import its own package and whatever stands below it."""

THIRD_PARTY = {
    "gevent": {"worker", "stats", "local"},
    "gunicorn": {"local"},
    "configobj": {"settings"},
    "lmdb": {"cache"},
    "psutil": {"master"},
    "dns": {"master/lookup.py"},
    "cryptography": {"protocol/signing.py"},
    "redis": {"cache/link.py"},
    "maxminddb": {"rules/variables/geoip.py"},
    "ldap3": {"rules/directory.py"},
    "pyrad": {"rules/radius.py"},
    "gssapi": {"rules/kerberos.py"},
    "passlib": {"rules/htpasswd.py"},
    "lxml": {"rules/styling.py"},
    "pymongo": {"rules/actions/gridfs.py"},
    "bcrypt": {"rules/htpasswd.py"},
    "rich": {"control/top.py"},
    "prometheus_client": {"stats/exposition.py"},
    "setproctitle": {"master", "worker", "stats", "local"},
}
"""Which layers (or which module alone) may import which library; imports for type checking count too."""


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the full name"
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = layer_of(path)
    assert own in LAYERS, f"{own} is in no layer: add it to LAYERS and to docs/architecture.md"
    for line, name in imported(path):
        parts = name.split(".")
        if parts[0] == "uwsgirouter" and len(parts) > 1:
            assert LAYERS.index(parts[1]) >= LAYERS.index(own), (
                f"{path}:{line}: {own} imports {parts[1]}, which is above it"
            )
        elif parts[0] in THIRD_PARTY:
            allowed = THIRD_PARTY[parts[0]] & {own, str(path.relative_to(PACKAGE))}
            assert allowed, f"{path}:{line}: {own} imports {parts[0]}"


def test_every_module_has_a_docstring() -> None:
    for path in [*modules(), PACKAGE / "__init__.py"]:
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_the_layer_list_is_the_documented_one() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    layout = text[text.index("## Layout") :]
    positions = [layout.index(f"\n    {name} ") for name in LAYERS[1:]]
    assert positions == sorted(positions)
