"""Conditions of route-if, one family a file."""
