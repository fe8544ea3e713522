"""``python -m scripts.soak``: the router under mixed traffic and planted trouble, its invariants checked all the time.

docs/soak.md says what is done and what is checked. The modules import downwards in this order: __main__ > report >
watch > troubles, traffic > site > visits > diary, content; node.py and app.py run in processes of their own. Processes
and addresses are those of scripts/bench.
"""
