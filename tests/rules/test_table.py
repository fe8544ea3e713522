"""The table: subjects, order, verdicts, jumps, chains, what it says at start and what it refuses."""

from __future__ import annotations

import subprocess

import pytest

from tests.rules.made import Playground, PlayHost, packet_for
from tests.servers.programs import uwsgi_command
from uwsgirouter.errors import ConfigError, ConfigErrors
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.packet import encode_packet
from uwsgirouter.rules.base import PARTS, Act, Broken, ChainName, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.parts import load
from uwsgirouter.rules.place import LATER
from uwsgirouter.rules.table import RUNS_MOST, Table
from uwsgirouter.settings.settings import Settings


def logged(rules: str, path: str = "/", **variables: str | bytes) -> list[str]:
    return Playground(rules).get(path, **variables).log


SUBJECTS = {
    "route": "PATH_INFO",
    "route-host": "HTTP_HOST",
    "route-uri": "REQUEST_URI",
    "route-qs": "QUERY_STRING",
    "route-remote-addr": "REMOTE_ADDR",
    "route-remote-user": "REMOTE_USER",
    "route-referer": "HTTP_REFERER",
    "route-user-agent": "HTTP_USER_AGENT",
}


@pytest.mark.parametrize(("option", "name"), SUBJECTS.items())
def test_each_subject_is_its_variable(option: str, name: str) -> None:
    rules = f"{option} = ^here$ log:yes\n{option} = ^$ log:empty"
    assert logged(rules, **{name: "here"}) == ["yes"]
    assert logged(rules, **{name: ""}) == ["empty"]
    others = {other: "here" for other in SUBJECTS.values() if other != name}
    assert logged(rules, **others, **{name: "x"}) == []


def test_a_host_that_is_not_there_is_the_servers_name() -> None:
    play = Playground("route-host = (.*) log:[$1]")

    def ask(*variables: tuple[bytes, bytes]) -> list[str]:
        before = len(play.host.lines)
        play.table.run(ChainName.REQUEST, play.exchange(encode_packet(variables)))
        return play.host.lines[before:]

    assert ask((b"SERVER_NAME", b"s")) == ["[s]"]
    assert ask((b"SERVER_NAME", b"s"), (b"HTTP_HOST", b"")) == ["[]"]
    assert ask((b"SERVER_NAME", b"s"), (b"HTTP_HOST", b"h")) == ["[h]"]
    assert ask((b"PATH_INFO", b"/")) == ["[]"]


def test_the_last_of_a_repeated_variable_and_the_first_address() -> None:
    play = Playground("route = (.*) log:$1 ${PATH_INFO}\nroute-remote-addr = (.*) log:$1 ${REMOTE_ADDR}")
    twice = [(b"PATH_INFO", b"/1"), (b"REMOTE_ADDR", b"a1"), (b"PATH_INFO", b"/2"), (b"REMOTE_ADDR", b"a2")]
    play.table.run(ChainName.REQUEST, play.exchange(encode_packet(twice)))
    assert play.host.lines == ["/2 /2", "a1 a2"]


def test_added_variables_do_not_change_subjects_but_those_that_mean_to_do() -> None:
    added = "route-run = log:${HTTP_HOST}\nroute-run = addvar:HTTP_HOST=x\nroute-host = (.*) log:$1 ${HTTP_HOST}"
    assert logged(added) == ["localhost", "localhost x"]
    changed = "route-run = setpathinfo:/new\nroute = (.*) log:$1 ${PATH_INFO}"
    assert logged(changed) == ["/new /new"]
    early = "route-run = addvar:HTTP_HOST=x\nroute-host = (.*) log:$1 ${HTTP_HOST} ${A}"
    assert logged(early, A="1") == ["localhost x 1"]


def test_order_over_kinds_and_the_verdicts() -> None:
    rules = """
        route-run = log:1
        route = ^/ log:2
        route-if = eq:a;a log:3
        route-if-not = eq:a;b log:4
        {stop}
        route-run = log:5
    """
    play = Playground(rules.format(stop="route-run = last:"))
    reply = play.get()
    assert (reply.log, reply.verdict, reply.asked) == (["1", "2", "3", "4"], Verdict.CONTINUE, True)
    assert Playground(rules.format(stop="")).get().log == ["1", "2", "3", "4", "5"]
    reply = Playground(rules.format(stop="route = ^/ break:403 Forbidden")).get()
    assert (reply.log, reply.verdict, reply.asked, reply.status) == (["1", "2", "3", "4"], Verdict.BREAK, False, 403)


GOTO = """
    route = ^/(.+)$ goto:$1
    route-run = log:1
    route-label = a
    route-run = log:a
    route-label = b
    route-run = log:b
    route-label = b
    route-run = log:second b
"""


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ("a", ["a", "b", "second b"]),
        ("b", ["b", "second b"]),
        ("1", ["1", "a", "b", "second b"]),
        ("7", ["second b"]),
        ("7x", ["second b"]),
        ("99", []),
        ("-1", []),
    ],
)
def test_goto(where: str, lines: list[str]) -> None:
    reply = Playground(GOTO).get("/" + where)
    assert (reply.log, reply.asked) == (lines, True)


@pytest.mark.parametrize("where", ["nowhere", "0"])
def test_a_goto_that_fails_is_an_answer_with_its_cause(where: str) -> None:
    reply = Playground(GOTO).get("/" + where)
    assert reply.verdict is Verdict.BREAK and not reply.asked
    assert reply.log == [
        '[uwsgi-route] ERROR "goto" instruction can only jump forward (check your label !!!)',
        "rules:2: route = ^/(.+)$ goto:$1: a goto can only jump forward",
    ]
    assert reply.status == 500
    play = Playground(GOTO)
    exchange = play.exchange(packet_for("/" + where))
    assert play.table.run(ChainName.REQUEST, exchange) is Verdict.BREAK
    assert (exchange.broken, exchange.cause) == ("a goto can only jump forward", Cause.RULE_FAILED)


def test_labels_belong_to_their_chain() -> None:
    rules = (
        "route-run = goto:x\nroute-run = log:no\nroute-label = x\nresponse-route-run = goto:x\nresponse-route-label = x"
    )
    assert Playground(rules).get().log == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("route-run = goto:lbel\nroute-label = label", "there is no label 'lbel' in this chain; did you mean label?"),
        ("route-run = goto:x", "there is no label 'x' in this chain; there are none"),
        ("route-label = x\nroute-run = goto:x", "'x' is not further down (a goto only jumps forward)"),
        ("route-run = log:\nroute-run = goto:1", "rule 1 is not further down"),
        ("route-run = goto:x\nerror-route-label = x", "there is no label 'x' in this chain"),
        ("route-status = 404 log:x", "the rule never runs; write response-route-status"),
        ("route-if = equal:x log:x", "there is no ; between what is compared, so the condition never holds"),
        ("route-run = log:${time[x]}", "${time[x]} is always empty; there are unix, micros"),
        ("route-if = ipv4in:${REMOTE_ADDR};10.0.0.0/33 log:", "'10.0.0.0/33' is no network"),
    ],
)
def test_what_cannot_be_meant_is_told_at_start(rules: str, said: str) -> None:
    (warning,) = Playground(rules).warnings
    assert warning.startswith("rules:") and said in warning


def test_a_goto_behind_the_end_is_no_doubt() -> None:
    assert Playground("route-run = goto:9\nroute-run = goto:-1\nroute-run = goto:x\nroute-label = x").warnings == []


def test_all_faults_are_told_in_one_go_with_their_place() -> None:
    rules = """
        route = ^/a lgo:x
        route-if = equl:a;b log:x
        route = ( log:x
        route-run = log:ok
        final-route-run = logvar:x
        collect-header = x
    """
    with pytest.raises(ConfigError, match=r"^rules:7: collect-header = x: expected HEADER VARIABLE"):
        Playground(rules)
    with pytest.raises(ConfigErrors) as caught:
        Playground(rules.replace("collect-header = x", ""))
    assert [str(error) for error in caught.value.errors] == [
        "rules:2: route = ^/a lgo:x: unknown action 'lgo'; did you mean log?",
        "rules:3: route-if = equl:a;b log:x: unknown condition 'equl'; did you mean equal?",
        "rules:4: route = ( log:x: bad regular expression at position 0 ('('): missing ), unterminated subpattern",
        "rules:6: final-route-run = logvar:x: no =; expected logvar:NAME=VALUE",
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("error-route-status = ^4 log:x", "^4 is no status; expected three digits"),
        ("route-if = lord:x log:x", "there is no legion here"),
        ("route-if = ipv4in:${REMOTE_ADDR};10.0.0.0/x log:", "'10.0.0.0/x' is no network"),
        ("route-run = return:999", "'999' has no status that has words"),
        ("route-if = incache:name=x log:", "key= is missing"),
    ],
)
def test_refused(rule: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Playground(rule)
    assert said in str(caught.value)


def test_the_printed_table_is_uwsgis() -> None:
    play = Playground("""
        route = ^/x log:hello $1
        route-host = ^loc(al)host$ addvar:X=a
        collect-header = Content-Type CT
        route-if-not = ipv4in:${REMOTE_ADDR};10.0.0.0/8 log:notin
        route-label = foo
        error-route-status = 404 log:nf
        pull-header = X-A A
        collect-header = X-B B
        route-run = last:
        final-route-uri = . log:final
    """)
    assert play.table.describe() == [
        "*** dumping internal routing table ***",
        "[rule: 0] subject: path_info regexp: ^/x action: log:hello $1",
        "[rule: 1] subject: http_host regexp: ^loc(al)host$ action: addvar:X=a",
        "[rule: 2] subject: ${REMOTE_ADDR};10.0.0.0/8 func: !ipv4in action: log:notin",
        "[rule: 3] label: foo",
        "[rule: 4] action: last:",
        "*** end of the internal routing table ***",
        "*** dumping internal error routing table ***",
        "[rule: 0] subject: 404 func: 404 action: log:nf",
        "*** end of the internal error routing table ***",
        "*** dumping internal final routing table ***",
        "[rule: 0] subject: request_uri regexp: . action: log:final",
        "*** end of the internal final routing table ***",
        "collecting header Content-Type to var CT",
        "collecting header X-B to var B",
        "pulling header X-A to var A",
    ]
    assert play.table.answers and play.table.has(ChainName.FINAL) and not play.table.has(ChainName.RESPONSE)


def test_no_rules_no_table() -> None:
    assert Table.build(Settings.of(fastrouter="127.0.0.1:1"), print) is None
    only = Table.build(Settings.listed([("collect-header", "A B", "x:1")]), print)
    assert only is not None and only.answers
    request = Table.build(Settings.listed([("route-run", "last:", "x:1")]), print)
    assert request is not None and not request.answers


def test_a_status_rule_is_for_that_status_alone() -> None:
    rules = """
        response-route-status = 200 log:ok
        response-route-status = 404 log:not found
        final-route-status = 200 log:end
    """
    assert Playground(rules).get().log == ["ok", "end"]
    assert Playground(rules).get(app=b"HTTP/1.1 404 Not Found\r\n\r\n").log == ["not found"]


def test_every_action_that_uwsgi_lists_is_known() -> None:
    done = subprocess.run([*uwsgi_command(), "--router-list"], capture_output=True, text=True, timeout=20, check=False)
    shown = (done.stdout + done.stderr).partition("*** uWSGI loaded routers ***")[2].partition("--- end of routers")[0]
    names = set(shown.split())
    known = load()
    assert len(names) > 90 and {"goto", "gzip", "rpcnext"} <= names
    assert names - LATER <= {*known.actions, *known.transformations}
    assert not LATER & {*known.actions, *known.transformations}
    with pytest.raises(ConfigError, match="symcall is a known action of uWSGI, not available in this version"):
        Playground("route-run = symcall:function")


@pytest.fixture
def parts() -> object:
    """Names that a test registers are gone afterwards."""
    load()
    before = PARTS.copy()
    yield
    PARTS.restore(before)


@pytest.mark.usefixtures("parts")
def test_a_chain_does_not_run_within_itself_and_not_for_ever() -> None:
    @action("again")
    def again(argument: bytes, place: Place) -> Act:
        def act(exchange: Exchange, found: Found) -> Verdict:
            name = ChainName(argument.decode())
            return exchange.table.run(name, exchange)

        return act

    play = Playground("route-run = log:in\nroute-run = again:\nerror-route-run = log:error")
    exchange = play.exchange(packet_for())
    assert play.table.run(ChainName.REQUEST, exchange) is Verdict.CONTINUE
    assert play.host.lines == ["in"]
    for _ in range(RUNS_MOST + 3):
        play.table.run(ChainName.ERROR, exchange)
    assert play.host.lines[:RUNS_MOST] == ["in", *["error"] * (RUNS_MOST - 1)]
    assert set(play.host.lines[RUNS_MOST:]) == {
        f"the chains of one request have run {RUNS_MOST} times: no more of them"
    }
    nested = Playground("route-run = again:error\nerror-route-run = log:error ${uwsgi[wid]}", PlayHost(worker=3))
    assert nested.get().log == ["error 3", "error 3"]  # the second one is for the application's 200


@pytest.mark.usefixtures("parts")
def test_a_part_that_waits_makes_its_chain_wait_and_those_around_it() -> None:
    @action("slow", waits=True)
    def slow(argument: bytes, place: Place) -> Act:
        return lambda exchange, found: Verdict.NEXT

    @action("sometimes")
    def sometimes(argument: bytes, place: Place) -> Act:
        if argument:
            place.waits()
        return lambda exchange, found: Verdict.NEXT

    def waiting(rules: str) -> set[ChainName]:
        table = Playground(rules).table
        return {name for name in ChainName if table.waits(name)}

    assert waiting("route-run = last:\nroute-run = sometimes:") == set()
    assert waiting("route-run = slow:\nresponse-route-run = last:") == {ChainName.REQUEST}
    assert waiting("route-run = sometimes:x") == {ChainName.REQUEST}
    assert waiting("error-route-run = slow:") == {ChainName.ERROR}
    assert waiting("route-run = last:\nerror-route-run = slow:") == {ChainName.REQUEST, ChainName.ERROR}
    assert waiting("final-route-run = slow:") == {ChainName.FINAL}


@pytest.mark.usefixtures("parts")
def test_a_broken_rule_is_told_and_ends_the_request() -> None:
    @action("breaks")
    def breaks(argument: bytes, place: Place) -> Act:
        def act(exchange: Exchange, found: Found) -> Verdict:
            raise Broken("no luck", Cause.RULE_BREAK)

        return act

    reply = Playground("route = ^/x breaks:it").get("/x")
    assert reply.log == ["rules:1: route = ^/x breaks:it: no luck"]
    assert (reply.exchange.cause, reply.status) == (Cause.RULE_BREAK, 403)


@pytest.mark.usefixtures("parts")
def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="log is registered twice, by uwsgirouter"):

        @action("log")
        def log(argument: bytes, place: Place) -> Act:
            raise NotImplementedError
