"""What setup.cfg cannot say: the hot modules are compiled when the machine can, else they run as they are."""

from __future__ import annotations

import json
import os
import runpy

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = os.path.dirname(os.path.abspath(__file__))
hot = runpy.run_path(os.path.join(HERE, "uwsgirouter", "compiled.py"))
OF_RULES = ("uwsgirouter.worker.routed", "uwsgirouter.worker.filter")
DIRECTIVES = {"language_level": "3", "annotation_typing": False, "binding": False}


def extensions() -> list[Extension]:
    """One for each hot module; none without Cython."""
    if os.environ.get("UWSGIROUTER_PURE", "") not in ("", "0"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    sources = {module: os.path.relpath(hot["source_of"](module), HERE) for module in hot["MODULES"]}
    # No debug information: it takes a fifth of the time, and profilers read the names of functions without it.
    found = [Extension(name, [source], extra_compile_args=["-g0", *level(name)]) for name, source in sources.items()]
    compiled = cythonize(found, compiler_directives=DIRECTIVES, build_dir="build/cython", quiet=True)
    for extension in compiled:
        extension.optional = True  # cythonize makes new ones, and forgets
    return compiled


def level(module: str) -> list[str]:
    """What only routers with rules need is compiled in half the time, and does as well for it."""
    return ["-O1"] if module.startswith("uwsgirouter.rules.") or module in OF_RULES else []


class BuildHot(build_ext):
    """Compiles as many at once as there are processors, and writes down what was compiled, so that it is used only with
    that very source.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except OSError as error:  # there is no compiler at all
            self.warn(f"{ext.name} runs as Python: {error}")

    def run(self) -> None:
        super().run()
        built = {
            extension.name: hot["digest"](extension.name)
            for extension in self.extensions
            if os.path.exists(self.get_ext_fullpath(extension.name))
        }
        record = os.path.join(os.path.dirname(self.get_ext_fullpath("uwsgirouter.compiled")), hot["RECORD"])
        if built:
            with open(record, "w", encoding="ascii") as file:
                json.dump(built, file, indent=1)


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildHot})
