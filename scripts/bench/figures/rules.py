"""What rules add to a small request: this router beside itself, one with a chain of rules.

The rules are of the sorts that people have; of twenty, a few match and go on, the others look and do not. Each figure
is the part that they add to the CPU of a small request.
"""

from __future__ import annotations

from dataclasses import replace

from scripts.bench import peers, wrk
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.site import Shape, Site

MICROSECONDS = 1e6

REQUEST = Figure("rules", "20 rules in the request chain add to a small request", "%", most=25.0, absolute=True)
RESPONSE = Figure("response-rules", "a rule for the response adds", "%", absolute=True)
_COST = Figure("cost", "", "us")

CHAIN = (
    "route=^/static/.*\\.(css|js|png)$ break:404 Not Found",
    "route=\\.php$ break:403 Forbidden",
    "route=^/old/(.*) redirect:/new/$1",
    "route=^/admin addvar:AREA=admin",
    "route=^/$ addvar:AREA=front",
    "route-uri=^/cgi-bin/ break:404 Not Found",
    "route-uri=\\.\\./ break:400 Bad Request",
    "route-uri=^/wp-login break:403 Forbidden",
    "route-qs=(^|&)debug=1 log:debug ${REQUEST_URI}",
    "route-qs=union.*select break:403 Forbidden",
    "route-host=^www\\.old\\.example$ redirect-301:http://new.example${REQUEST_URI}",
    "route-host=^admin\\. goto:admin",
    "route-user-agent=(AhrefsBot|SemrushBot|MJ12bot) break:403 Forbidden",
    "route-user-agent=^-$ break:400 Bad Request",
    "route-remote-addr=^10\\. addvar:INSIDE=1",
    "route-referer=casino break:403 Forbidden",
    "route-if=equal:${REQUEST_METHOD};TRACE break:405 Method Not Allowed",
    "route-if=startswith:${PATH_INFO};/health return:200",
    "route-if-not=empty:${HTTP_X_DEBUG} log:debug header",
    "route=. addvar:SEEN=1",
    "route-label=admin",
)
PLAIN, RULED, ANSWERED = "without rules", "with rules", "with a rule for the response"


def measure(layout: Layout, length: Length) -> Sample:
    """A round."""
    chain = tuple(f"--{rule}" for rule in CHAIN)
    response = ("--response-route-run=addheader:X-Served-By: router",)
    shape = Shape(more=((RULED, chain), (ANSWERED, response)))
    lanes = [(name, peers.OURS) for name in (PLAIN, RULED, ANSWERED)]
    sample, costs = Sample(), Sample()
    with Site(replace(layout, lanes=lanes), shape) as site:

        def turn(lane: Lane) -> Done:
            return Done(wrk.requests(lane.front, 1).requests)

        take_turns(site, _COST, MICROSECONDS, turn, length.seconds, costs)
    sample.neighbours = costs.neighbours
    each = costs.values[_COST.key]
    for figure, name in ((REQUEST, RULED), (RESPONSE, ANSWERED)):
        sample.add(figure, _ours(layout), 100 * (each[name] / each[PLAIN] - 1))
    return sample


def _ours(layout: Layout) -> str:
    """The name of our lane in the table."""
    return next((name for name, kind in layout.lanes if kind == peers.OURS), layout.lanes[0][0])


EXPERIMENT = Experiment("rules", (REQUEST, RESPONSE), measure)
