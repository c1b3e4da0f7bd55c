"""Drives the core with real I/O: downloads, sources, the range server."""
