"""Actions, one family a file. A file here is loaded with the first table; see ``parts.py``."""
