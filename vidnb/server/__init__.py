"""The range server: registered files, folders and downloads over loopback HTTP."""
