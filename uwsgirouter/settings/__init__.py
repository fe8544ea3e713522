"""One table of options; the ini dialect, the command line and the reference page derive from it."""
