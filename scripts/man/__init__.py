"""The two man pages, man/uwsgirouter.8 and man/uwsgirouterctl.1, made from what the commands themselves are made of.

``python -m scripts.man`` writes them, ``--check`` says whether they are up to date. The modules import downwards in
this order: __main__ > daemon, control > roff. Options come from the table of options, commands from the parser of
uwsgirouterctl, signals and exit codes of the router from docs/signals.md: nothing is said twice.
"""
