"""Plain state, ``now`` passed in, no I/O."""
