"""What each name is, and what is said about it."""

from __future__ import annotations

import pytest

from uwsgirouter.settings import names
from uwsgirouter.settings.names import Verdict, verdict


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("fastrouter", Verdict.OPTION),
        ("chmod", Verdict.OPTION),
        ("-c", Verdict.OPTION),
        ("master", Verdict.IGNORED),
        ("plugins", Verdict.IGNORED),
        ("need-app", Verdict.IGNORED),
        ("buffer-size", Verdict.IGNORED),
        ("log-master", Verdict.IGNORED),
        ("processes", Verdict.OPTION),
        ("module", Verdict.OPTION),
        ("cheaper", Verdict.APPLICATION),
        ("http-socket", Verdict.APPLICATION),
        ("fastrouter-resubscribe", Verdict.OPTION),
        ("subscriptions-sign-check", Verdict.OPTION),
        ("subscription-mountpoint", Verdict.OPTION),
        ("subscription-fallback-key", Verdict.OPTION),
        ("subscription-notify-socket", Verdict.APPLICATION),
        ("route", Verdict.OPTION),
        ("route-if-not", Verdict.OPTION),
        ("error-route-status", Verdict.OPTION),
        ("response-route-run", Verdict.OPTION),
        ("final-route", Verdict.OPTION),
        ("pull-header", Verdict.OPTION),
        ("pcre-jit", Verdict.IGNORED),
        ("stats", Verdict.OPTION),
        ("emperor", Verdict.REFUSED),
        ("chroot", Verdict.REFUSED),
        ("fastrouter-nonsense", Verdict.OWN_FAMILY),
        ("subscription-nonsense", Verdict.OWN_FAMILY),
        ("subscriptions-nonsense", Verdict.OWN_FAMILY),
        ("route-nonsense", Verdict.OWN_FAMILY),
        ("final-route-nonsense", Verdict.OWN_FAMILY),
        ("http-nonsense", Verdict.OWN_FAMILY),
        ("public_ip", Verdict.UNKNOWN),
        ("router_ip", Verdict.UNKNOWN),
        ("route_dir", Verdict.UNKNOWN),
        ("fastrouter_ip", Verdict.UNKNOWN),
        ("subscription", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
    ],
)
def test_verdicts(name: str, found: Verdict) -> None:
    assert verdict(name) is found


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("fastroutr", "; did you mean fastrouter?"),
        ("FastRouter-Timeout", "; did you mean fastrouter-timeout?"),
        ("fastrouter_subscription_server", "; did you mean fastrouter-subscription-server?"),
        ("reload_mercy", "; did you mean reload-mercy?"),
        ("qqqq", ""),
    ],
)
def test_the_nearest_name(name: str, near: str) -> None:
    assert names.nearest(name) == near


def test_flags_of_uwsgi_take_no_value() -> None:
    assert not names.takes_value("master")
    assert not names.takes_value("vhost")
    assert names.takes_value("plugins")
    assert names.takes_value("module")
