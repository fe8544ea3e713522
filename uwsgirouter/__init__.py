"""uwsgirouter: a router for uwsgi-protocol applications that announce themselves."""

__version__ = "0.1.0"
