"""``python -m scripts.bench``: the CPU that uwsgirouter and the C FastRouter use for the same work.

Both routers stand between the same nginx and the same uWSGI, at the same time, and are loaded in turns
within one run; so a slow machine, a busy neighbour or an odd minute meets both. docs/benchmarks.md says what
the figures mean. The modules import downwards in this order:
__main__ > report > rounds > measures > site > nginx > programs > processes.
"""
