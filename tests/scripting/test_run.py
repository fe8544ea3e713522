"""Running what a configuration names: the order, the names, and each way to fail."""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

import pytest

from tests.scripting.made import Lines, opened
from uwsgirouter.cache.caches import Caches
from uwsgirouter.scripting.module import install
from uwsgirouter.scripting.run import ScriptError, run_scripts, run_shared
from uwsgirouter.settings.settings import Settings

MANUAL = """\
import uwsgi
# Requests for example.com on port 8000 will go to 127.0.0.1:4040
uwsgi.cache_set("example.com:8000", "127.0.0.1:4040")
# Requests for unbit.it will go to 127.0.0.1:4040 with the modifier1 set to 5 (perl/PSGI)
uwsgi.cache_set("unbit.it", "127.0.0.1:4040,5")
"""


class Run:
    """A directory with scripts, and what became of running them."""

    def __init__(self, directory: Path, log: Lines) -> None:
        self.directory = directory
        self.log = log
        self.caches: Caches | None = None

    def write(self, **scripts: str) -> None:
        """Scripts by their names without .py."""
        for name, text in scripts.items():
            (self.directory / f"{name}.py").write_text(text)

    def __call__(self, **options: object) -> dict[bytes, bytes]:
        """Run; what the first cache holds then."""
        settings = Settings.of(**options)
        if self.caches is None:
            self.caches = opened(settings, self.directory, self.log)
        run_scripts(settings, self.caches, self.log)
        return self.content()

    def content(self, name: str = "") -> dict[bytes, bytes]:
        """What a cache holds."""
        assert self.caches is not None
        return {key: value for key, value, _ in self.caches.named(name).items()}


@pytest.fixture
def run(tmp_path: Path, log: Lines) -> Run:
    """Scripts in the working directory; the caches are closed by the end of the test's process."""
    return Run(tmp_path, log)


def test_the_manual_s_script(run: Run) -> None:
    run.write(foobar=MANUAL)
    expected = {b"example.com:8000": b"127.0.0.1:4040", b"unbit.it": b"127.0.0.1:4040,5"}
    assert run(cache=100, file="foobar.py") == expected
    assert run(cache=100, file="foobar.py") == expected, "and again, as a reload does"


def test_the_order(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two", "three", "four"):
        run.write(**{name: f"import uwsgi\nprint({name!r}, __name__, sorted(uwsgi.cache_keys()))"})
    run(
        **{
            "cache": 10,
            "file": ["one.py", "./two.py"],
            "import": "three",
            "shared_import": "four.py",
            "add_cache_item": "k=v",
        }
    )
    assert capfd.readouterr().out.splitlines() == [
        "four four [b'k']",
        "three three [b'k']",
        "one uwsgi_file_one [b'k']",
        "two uwsgi_file___two [b'k']",
    ]
    assert {"four", "three", "uwsgi_file_one"} <= set(sys.modules)


def test_arguments_and_file_are_those_of_uwsgi(run: Run) -> None:
    run.write(script="import sys, uwsgi\nuwsgi.cache_set('argv', repr(sys.argv))\nuwsgi.cache_set('file', __file__)")
    assert run(cache=10, file="script.py") == {b"argv": b"['uwsgi']", b"file": b"script.py"}


def test_modules_of_pythonpath(run: Run) -> None:
    (run.directory / "lib" / "package").mkdir(parents=True)
    (run.directory / "lib" / "package" / "__init__.py").write_text("")
    (run.directory / "lib" / "package" / "inner.py").write_text("import uwsgi\nuwsgi.cache_set('from', __name__)")
    assert run(**{"cache": 10, "pythonpath": "lib", "import": "package.inner"}) == {b"from": b"package.inner"}


def test_add_cache_item(run: Run) -> None:
    options = {"cache": 10, "cache2": "name=two,items=10"}
    items = ["all=1", "two only=2", "default a=b=c", "spaced=one two", "all=again"]
    run(**options, add_cache_item=items)
    assert run.content("default") == {b"all": b"1", b"a": b"b=c", b"spaced": b"one two"}
    assert run.content("two") == {b"all": b"1", b"only": b"2", b"spaced": b"one two"}
    assert '[cache] stored "only" in "two"' in run.log.lines
    assert '[cache] "all" is in "two" already and stays as it is' in run.log.lines


def test_load_file_in_cache(run: Run) -> None:
    page = b"<h1>page</h1>" * 10
    (run.directory / "page.html").write_bytes(page)
    (run.directory / "other page.html").write_bytes(b"other")
    options = {"cache": 10, "cache2": "name=two,items=10"}
    run(
        **options,
        load_file_in_cache=["default page.html", "two other page.html"],
        load_file_in_cache_gzip="two page.html",
        add_cache_item="default page.html=late",
    )
    assert run.content("default") == {b"page.html": page}, "files come before items"
    assert run.content("two")[b"other page.html"] == b"other"
    assert gzip.decompress(run.content("two")[b"page.html"]) == page
    assert '[cache-gzip] stored "page.html" in "two"' in run.log.lines


def test_a_cache_without_room_is_told_of(run: Run) -> None:
    run(cache=1, add_cache_item=["a=1", "b=2"])
    assert run.content() == {b"a": b"1"}
    assert '[cache-error] unable to store "b" in "default"' in run.log.lines


FAILURES = {
    "file": ("import uwsgi\nuwsgi.cache_set('new', '1')\n1 / 0\n", "ZeroDivisionError: division by zero"),
    "import": ("raise RuntimeError('no\\nway')", "RuntimeError: no\nway"),
    "shared_import": ("def broken(:\n", "SyntaxError: "),
}


@pytest.mark.parametrize("option", list(FAILURES))
def test_a_script_that_fails(run: Run, option: str) -> None:
    text, message = FAILURES[option]
    run.write(broken=text)
    before = run(cache=10, add_cache_item="k=v")
    with pytest.raises(ScriptError) as raised:
        run(**{"cache": 10, option: "broken.py", "add_cache_item": "k=other"})
    name = option.replace("_", "-")
    assert str(raised.value).startswith(f"test: {name}: {name} = broken.py: {message}")
    assert run.content() == before, "nothing of the new configuration is left"
    lines = raised.value.traceback.splitlines()
    assert "broken.py" in raised.value.traceback and message.splitlines()[-1].strip() in lines[-1]
    assert not any("scripting/run.py" in line for line in lines), "it is the script's own traceback"


def test_the_traceback_goes_to_where_it_happened(run: Run) -> None:
    run.write(outer="import inner_module\ninner_module.work()", inner_module="def work():\n    return {}['missing']")
    with pytest.raises(ScriptError) as raised:
        run(cache=10, file="outer.py")
    text = raised.value.traceback
    assert re.search(r'File "outer.py", line 2.*File ".*inner_module.py", line 2, in work', text, re.DOTALL)
    assert "return {}['missing']" in text and text.endswith("KeyError: 'missing'\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "nowhere.py"}, "file = nowhere.py: FileNotFoundError: .*nowhere.py"),
        (
            {"import": "no_such_module"},
            "import = no_such_module: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            {"load_file_in_cache": "nowhere"},
            "load-file-in-cache = nowhere: cannot read nowhere: No such file or directory",
        ),
        (
            {"load_file_in_cache": "default large"},
            "large: 70000 bytes, and a value of the cache default has 1 to 65536",
        ),
        ({"load_file_in_cache": "empty"}, "empty: 0 bytes, and a value of the cache default has 1 to 65536"),
        ({"file": "leaves.py"}, "file = leaves.py: it exited with 3"),
        ({"file": "absent.py"}, r"AttributeError: uwsgi\.add_timer makes no sense in a router"),
    ],
)
def test_other_failures(run: Run, options: dict[str, object], message: str) -> None:
    (run.directory / "large").write_bytes(bytes(70000))
    (run.directory / "empty").touch()
    run.write(leaves="import sys\nsys.exit(3)", absent="import uwsgi\nuwsgi.add_timer(1, 30)")
    with pytest.raises(ScriptError, match=message):
        run(cache=10, **options)


def test_a_script_may_leave_early(run: Run) -> None:
    run.write(leaves="import sys, uwsgi\nuwsgi.cache_set('k', 'v')\nsys.exit()\nuwsgi.cache_set('never', 'v')")
    assert run(cache=10, file="leaves.py") == {b"k": b"v"}


def test_scripts_without_caches(run: Run, log: Lines) -> None:
    run.write(script="import uwsgi\nuwsgi.log('hello')")
    run_scripts(Settings.of(file="script.py"), None, log)
    assert log.lines == ["hello"]


def test_a_worker_runs_shared_import_too(run: Run, log: Lines) -> None:
    run.write(both="import uwsgi\nuwsgi.cache_set('k', 'v')\nworkers = uwsgi.worker_id()", alone="raise RuntimeError")
    settings = Settings.of(**{"cache": 10, "shared_import": "both.py", "import": "alone.py"})
    caches = opened(settings, run.directory, log)
    install(settings, caches, log, worker=3)
    run_shared(settings, caches)
    assert sys.modules["both"].workers == 3
    assert caches.named("").get(b"k") == b"v"
    caches.close()
