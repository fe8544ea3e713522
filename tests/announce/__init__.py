"""uwsgirouter.announce: the library, and gunicorn with its hooks."""
