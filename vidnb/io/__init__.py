"""One module per thing in the world: http, files, loop."""
