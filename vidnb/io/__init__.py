"""Event-loop threads, the HTTP client, thread helpers, buffers and locks."""
