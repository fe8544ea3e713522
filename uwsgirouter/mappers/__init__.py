"""One way from a request's key to candidate nodes a file."""
