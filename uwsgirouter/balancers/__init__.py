"""One order over a slot's nodes a file."""
