"""Tools for people who work on uwsgirouter. Nothing here is installed."""
