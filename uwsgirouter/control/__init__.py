"""uwsgirouterctl: one command a file."""
