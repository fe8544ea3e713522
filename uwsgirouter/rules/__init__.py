"""Internal routing: rules that decide what happens to a request, read once and run for each."""
