"""The compiled form of the hot modules: used when it fits the source, never when it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from uwsgirouter import compiled

PURE = os.environ.get("UWSGIROUTER_PURE", "") not in ("", "0")
SAY = """
import importlib, uwsgirouter.compiled as c
print(c.describe())
for module in c.MODULES:
    try:
        print(importlib.import_module(module).__file__)
    except ModuleNotFoundError as error:
        print(error)
"""
NO_SOURCE = "uwsgirouter.worker.kernel exists only in compiled form"


def said(package: Path, **environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if name != "UWSGIROUTER_PURE"}
    process = subprocess.run(
        [sys.executable, "-c", SAY],
        env={**kept, "PYTHONPATH": str(package.parent), **environment},
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.splitlines()


def copy_of_package(directory: Path) -> Path:
    package = directory / "uwsgirouter"
    shutil.copytree(compiled.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_this_installation_is_compiled() -> None:
    """`make test` installs a compiler, so that what most people run is what is tested."""
    assert compiled.obstacle() == ("UWSGIROUTER_PURE is set" if PURE else "")


def test_the_compiled_modules_are_the_ones_that_run(tmp_path: Path) -> None:
    version, *files = said(copy_of_package(tmp_path))
    assert version == "compiled"
    assert all(file.endswith(".so") for file in files), files


def test_the_source_runs_when_asked_for(tmp_path: Path) -> None:
    version, *files = said(copy_of_package(tmp_path), UWSGIROUTER_PURE="1")
    assert version == "pure Python (UWSGIROUTER_PURE is set)"
    assert all(file.endswith(".py") or file == NO_SOURCE for file in files), files


def test_a_changed_source_is_not_shadowed_by_its_old_build(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    with open(package / "worker" / "relay.py", "a", encoding="ascii") as file:
        file.write("# changed\n")
    version, *files = said(package)
    assert version == "pure Python (uwsgirouter.worker.relay was changed since it was compiled)"
    assert all(file.endswith(".py") or file == NO_SOURCE for file in files), files


def test_changed_c_types_count_as_a_change(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    with open(package / "worker" / "session.pxd", "a", encoding="ascii") as file:
        file.write("# changed\n")
    assert said(package)[0] == "pure Python (uwsgirouter.worker.session was changed since it was compiled)"


def test_without_a_build_the_source_runs(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    (package / compiled.RECORD).unlink()
    version, *files = said(package)
    assert version == "pure Python (not compiled at installation)"
    assert all(file.endswith(".py") or file == NO_SOURCE for file in files), files


def test_a_record_that_is_no_record(tmp_path: Path) -> None:
    package = copy_of_package(tmp_path)
    (package / compiled.RECORD).write_text("{")
    assert said(package)[0] == "pure Python (not compiled at installation)"


def test_each_module_has_its_source() -> None:
    for module in compiled.MODULES:
        assert Path(compiled.source_of(module)).is_file()
