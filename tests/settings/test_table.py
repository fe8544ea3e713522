"""The table: one row a name, defaults that pass their own check, and no row that help or page forget."""

from __future__ import annotations

from collections import Counter

import pytest

from uwsgirouter.settings import names, report, values
from uwsgirouter.settings.table import BY_NAME, OPTIONS, SECTIONS, WITHOUT_VALUE, Option, Type

BY_ROW = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def test_a_name_stands_in_one_row_only() -> None:
    counted = Counter(name for option in OPTIONS for name in (option.name, *option.aliases))
    assert [name for name, count in counted.items() if count > 1] == []


def test_a_name_of_the_table_is_in_no_other_list() -> None:
    lists = [
        names.IGNORED_FLAGS,
        names.IGNORED_VALUES,
        names.APPLICATION,
        names.LATER,
        names.REFUSED.keys(),
    ]
    counted = Counter(name for found in [BY_NAME.keys(), *lists] for name in found)
    assert [name for name, count in counted.items() if count > 1] == []


@BY_ROW
def test_a_row_is_complete(option: Option) -> None:
    assert option.section in SECTIONS
    assert len(option.help) > 10 or option.help.startswith("...")
    assert option.help[0].islower() or option.help.startswith("..."), "help is a phrase, not a sentence"
    assert not option.help.endswith(".") or option.help.endswith("...")


@BY_ROW
def test_a_default_passes_the_rows_own_check(option: Option) -> None:
    if option.default:
        assert option.is_value
        values.parse(option, option.default)


@BY_ROW
def test_a_value_that_may_be_left_out_passes_the_check(option: Option) -> None:
    if option.bare is not None and option.is_value and option.type is not Type.LISTEN:
        values.parse(option, option.bare)


@BY_ROW
def test_the_help_has_every_spelling_and_the_words_of_the_row(option: Option) -> None:
    text = " ".join(report.help_text().split())
    assert " ".join(option.help.split()) in text
    for spelling in option.spellings:
        assert f"{spelling} " in text or f"{spelling}, " in text


@BY_ROW
def test_every_name_is_a_flag_of_the_command_line(option: Option) -> None:
    for name in (option.name, *option.aliases):
        assert BY_NAME[name] is option
    assert all(spelling.startswith("-") for spelling in option.spellings)


def test_the_logic_rows_without_a_value_exist() -> None:
    assert all(BY_NAME[name].type is Type.LOGIC for name in WITHOUT_VALUE)


def test_the_options_that_the_issue_names_are_there() -> None:
    wanted = """
        fastrouter fastrouter-processes fastrouter-workers fastrouter-to fastrouter-gracetime fastrouter-timeout
        fastrouter-max-retries fastrouter-strip-port fastrouter-keep-modifiers fastrouter-error-pages
        fastrouter-cheap fastrouter-subscription-server fastrouter-uid fastrouter-gid fastrouter-harakiri
        fastrouter-events fastrouter-buffer-size fastrouter-quiet subscription-tolerance shared-socket listen
        chmod-socket chmod chown-socket uid gid pidfile vacuum chdir daemonize logto max-fd touch-reload
        reload-mercy strict ini config -c include set-placeholder set-ph set env check -t show-config help -h
        version -V if-env if-not-env if-file if-not-file if-dir if-not-dir if-exists if-not-exists if-opt if-not-opt
        if-hostname if-not-hostname endif for for-glob for-readline endfor
    """
    assert [name for name in wanted.split() if name not in BY_NAME] == []
