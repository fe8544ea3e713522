"""The documentation: the site, the man pages, and what the pages promise."""
