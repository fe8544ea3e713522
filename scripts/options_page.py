"""Write docs/options.md from the table of options (``--check``: only say whether the page is up to date).

The tables come from the rows, the lists from ``settings/names.py``; the chapter on the ini dialect stands here, and
every ini example in it is loaded by a test.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from uwsgirouter.settings import names, values
from uwsgirouter.settings.table import OPTIONS, SECTIONS, Option, Type

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"

HEAD = """\
# Options

This page is made from the table of options by `make docs`: change
its rows in `uwsgirouter/settings/rows/`, not this page.

Every option can stand on the command line (`--name value`, `--name=value`) and in an ini file (`name = value`). They
count in the order in which they are given, files where they are named; of an option that is not repeatable the last one
counts. `uwsgirouter --check ...` validates a configuration and says what the router would do; `--show-config` prints
the outcome as an ini file.

"Reload" says whether a changed value takes effect on a reload (HUP); `no` means that it takes a restart, and that a
reload logs a warning when the value differs. Options about sockets apply to the sockets that are bound from then on.
"""

DIALECT = """\
## The ini files

The dialect is that of uWSGI, so that old files can be used as they are.

```ini
[uwsgi]
; a comment is a whole line, with ; or # in front
plugins = fastrouter
public_ip = 127.0.0.1
fastrouter = %(public_ip):3017
fastrouter-subscription-server = %(public_ip):2626
fastrouter-cheap
```

**Lines.** `name = value`; blanks around both are dropped. A name alone is a yes. The value goes to the end of the
line: quotes, backslashes and a later `;` or `#` are ordinary characters. A repeated name is a further value.

**Sections.** `[uwsgirouter]` and `[uwsgi]` are read, in the order in which they stand; other sections are not.
`-c FILE:SECTION` reads one section by name instead, `ini = :SECTION` one of the file that was read last.

**Other files.** `ini = FILE` (or `include = FILE`) reads a file in its place. A relative name starts at the working
directory, as in uWSGI; `%d` stands for the directory of the file at hand, with its slash: `ini = %dcommon.ini`.
`-` is standard input; its text is kept for reloads.

**Placeholders.** `%(name)` is the first value given under that name, before or after: an option, a name of your own,
or one defined with `set-placeholder` (`set-ph`) on the command line or in a file. Arithmetic works from left to right,
with blanks between the parts: `+ - * /`, `++` and `--` behind a name; names without an operator are joined.

```ini
[uwsgirouter]
base = 3000
set-ph = offset = 17
fastrouter = 127.0.0.1:%(base + offset)
fastrouter-to = 127.0.0.1:%(base ++)
fastrouter-processes = %(%k * 1)
```

**Magic variables**, in files only; an upper-case letter means the first file that is not an include:

| | |
|---|---|
| `%p %P` | absolute path of the file |
| `%s %S` | its name |
| `%n %N` | its name without the extension |
| `%e %E` | its extension |
| `%d %D` | its directory, with a slash at the end |
| `%c %C` | the last part of that directory's name |
| `%0` ... `%9` | the parts of that directory's path |
| `%o %O` | the name of the file as it was given |
| `%x %X` | the section that was asked for, as in `FILE:SECTION` |
| `%i %I` | the file's inode |
| `%v` | the working directory |
| `%h` | the name of this machine |
| `%k` | the number of processor cores |
| `%u %U %g %G` | number and name of the user and the group that start the router |
| `%t %T` | the time of start, in seconds and in microseconds |
| `%V` | the version of uwsgirouter |
| `%[` | the escape character |
| `%%` | a percent sign |

Any other letter stands for nothing, with a notice.

**Environment and files.** `$(NAME)` is an environment variable, `$(NAME:-text)` has a default for one that is unset or
empty, `$(NAME-text)` for one that is unset; `@(path)` is the content of a file without its last line break. They
come first, so a file's name may hold a variable. What is unset stays as it is written; in an option of the router
that is an error. `env = NAME=value` sets a variable for the processes of the router; `$(NAME)` does not see it.

**Conditions and loops.** `%(_)` is what was found, or the word at hand. Blocks do not nest, and end with their file.

```ini
[uwsgirouter]
if-env = ROUTER_ADDRESS
fastrouter = %(_)
else =
fastrouter = 127.0.0.1:3017
endif =

for = 3031 3032 3033
fastrouter-to = 127.0.0.1:%(_)
endfor =
```

Conditions are decided where they stand, on what is written in the files: `$(NAME)` and `%(name)` are not expanded in
their values, magic variables are.

**Where it differs from uWSGI.** `else` works (uWSGI 2.0 has none). What a placeholder brings is expanded as well, and a
circle is an error. Blanks around the `=` in `set-ph = name = value` do not count. The upper-case magic variables are
also set for a file that is named without `-c`. `inherit`, xml, yaml and json are refused, and so are `http://` and
`exec://` where a file is expected. `UWSGI_...` environment variables are not options.

## Names that are not in the tables

A name that is none of the options is a placeholder if something uses it as `%(name)`. If nothing does, it is probably
a mistake: a warning with file and line, an error under `strict = true` and `--check`, and always an error on the
command line and in the families `fastrouter-`, `subscription-`, `subscriptions-`, `route`, `error-route`,
`response-route`, `final-route`, `http-`, `rawrouter-` and `sslrouter-`.
"""


def page() -> str:
    """The whole text of the page."""
    parts = [HEAD]
    for section, heading in SECTIONS.items():
        rows = [_row(option) for option in OPTIONS if option.section == section]
        parts.append("\n".join([f"## {heading}", "", *_TABLE_HEAD, *rows, ""]))
    parts += [DIALECT, _refused()]
    parts.append(_list("Without meaning in a router", _ACCEPTED, names.IGNORED_FLAGS | names.IGNORED_VALUES))
    parts.append(_list("For applications", _APPLICATIONS, names.APPLICATION))
    parts.append(_list("Not available yet", _NOT_YET, names.LATER))
    return "\n".join(parts)


_TABLE_HEAD = ("| Option | Value | Default | Reload | Meaning |", "|---|---|---|---|---|")
_ACCEPTED = "These options of uWSGI are accepted and do nothing; one notice at start lists those that were given."
_APPLICATIONS = (
    "An application runs beside the router with the options of the section A local application. These others of "
    "uWSGI's application server have no counterpart and do nothing, with a warning that names them."
)
_NOT_YET = "These are known and not built yet, so they are an error."


def _row(option: Option) -> str:
    spellings = [f"`{name}`" for name in option.names]
    spellings += [f"`{name}`" for name in option.aliases if name.startswith("-")]
    kind = values.allowed(option) + ("; repeatable" if option.repeatable and option.type is not Type.LOGIC else "")
    default = f"`{option.default}`" if option.default else ""
    reload = ("yes" if option.reloadable else "no") if option.is_value else ""
    meaning = option.help.replace("|", "\\|")
    return f"| {', '.join(spellings)} | {kind} | {default} | {reload} | {meaning} |"


def _refused() -> str:
    lines = [f"- `{name}`: {reason}" for name, reason in sorted(names.REFUSED.items())]
    return "\n".join(["### Refused", "", *lines, ""])


def _list(heading: str, text: str, found: frozenset[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(found, key=lambda name: name.lstrip("-")))
    return f"### {heading}\n\n{text}\n\n{listed}\n"


def main(argv: list[str]) -> int:
    """Write the page, or compare it with ``--check``."""
    text = page()
    if "--check" not in argv:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print("docs/options.md is not what the table of options gives: run make docs")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
