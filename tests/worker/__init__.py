"""The worker, from outside: one router process, scripted byte-level nodes, and what its worker holds."""
