"""The variables ``${name[...]}``, one family a file."""
