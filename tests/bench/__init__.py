"""The benchmark suite without its running: what is pure in it, and that what it starts is stopped."""
