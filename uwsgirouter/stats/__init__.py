"""What the router shows of itself: statistics as JSON, metrics for Prometheus. Runs in children of the master."""
