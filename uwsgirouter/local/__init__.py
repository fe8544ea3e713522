"""What serves requests beside the router: the local instance, and gunicorn workers that adopt connections."""
