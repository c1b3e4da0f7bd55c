"""The progress display of a download, in a cell and on a terminal."""
