"""``python -m scripts.scale``: what tens of thousands of nodes, and a flood of junk, cost the router.

docs/scale.md says what the figures mean. The modules import downwards in this order: __main__ > inside, town > sending;
town starts the router as scripts/bench does.
"""
