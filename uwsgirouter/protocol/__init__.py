"""Sans-IO formats: bytes in, values out; no socket, no clock, no logging."""
