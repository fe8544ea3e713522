"""Rule tables from a grammar, run by uWSGI and by the router: ``make fuzz-rules`` (SECONDS=120)."""
