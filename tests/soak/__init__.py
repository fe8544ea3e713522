"""Tests of scripts/soak: that it finds what is wrong, and that nothing is."""
