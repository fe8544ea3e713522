"""``python -m scripts.bench``: what uwsgirouter and the C FastRouter use for the same work.

Both routers stand between the same programs, at the same time, and are loaded in turns within one run; so a slow
machine, a busy neighbour or an odd minute meets both. docs/benchmarks.md says what the figures mean. The modules
import downwards in this order: __main__ > page > plot, report > figures > experiment > site > fleet > peers > nginx,
wrk, clients > programs > processes, arithmetic. What is announced comes from scripts/scale/sending.
"""
