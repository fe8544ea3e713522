"""uwsgirouter: a router for uwsgi-protocol applications that announce themselves."""

from uwsgirouter import compiled

__version__ = "0.1.0"

compiled.choose()
