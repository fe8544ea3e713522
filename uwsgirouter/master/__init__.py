"""The master: owns the sockets, the registry and the processes, never a client's byte."""
