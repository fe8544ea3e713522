"""Transformations of bodies, one family a file."""
