"""Installed versions of the package: copies of its tree that a test changes below a running router, as pip does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import uwsgirouter
from tests.servers import Router, Servers

PACKAGE = Path(uwsgirouter.__file__).parent


class Installation:
    """A directory with one version of the package in it."""

    def __init__(self, servers: Servers, version: str) -> None:
        self.servers = servers
        self.count = 0
        self.root = servers.directory / f"site-{len(list(servers.directory.glob('site-*')))}"
        self.root.mkdir()
        self.package = self.root / "uwsgirouter"
        self.install(version)

    def install(self, version: str, **changes: str) -> None:
        """Have another version there; ``changes``: by module (``worker_main``), what is written at its end."""
        self.count += 1
        new = self.root / f"new-{self.count}"
        shutil.copytree(self.base(), new, copy_function=os.link)
        first = new / "__init__.py"
        text = first.read_text()
        assert f'"{uwsgirouter.__version__}"' in text
        rewrite(first, text.replace(f'"{uwsgirouter.__version__}"', f'"{version}"'))
        for module, added in changes.items():
            path = new / (module.replace("__", "/") + ".py")
            rewrite(path, f"{path.read_text()}\n{added}\n")
        old = self.root / f"old-{self.count}"
        if self.package.exists():
            self.package.rename(old)
        new.rename(self.package)
        shutil.rmtree(old, ignore_errors=True)

    def base(self) -> Path:
        """A copy of the tree, whose files the versions share."""
        base = self.servers.directory / "package"
        if not base.exists():
            shutil.copytree(PACKAGE, base, ignore=shutil.ignore_patterns("__pycache__"))
        return base

    def router(self, *args: str, config: str = "", ready: bool = True, **env: str) -> Router:
        """A router that runs what is installed."""
        return self.servers.router(*args, config=config, ready=ready, env={"PYTHONPATH": str(self.root), **env})


def rewrite(path: Path, text: str) -> None:
    """Another file of that name: the one that is there is other versions', too."""
    path.unlink()
    path.write_text(text)
