"""Downloads: one request, from its part file to the published file."""
