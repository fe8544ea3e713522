"""The rows of the table of options, one family a file."""
