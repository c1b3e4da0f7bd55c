"""The player widget: one video, controlled from Python and from the page."""
