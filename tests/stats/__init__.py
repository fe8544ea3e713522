"""What the router shows of itself."""
