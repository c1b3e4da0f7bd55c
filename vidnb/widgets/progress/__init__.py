"""Progress displays of a download, in a cell and on a terminal."""
