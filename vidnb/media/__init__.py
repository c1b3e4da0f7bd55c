"""Container facts read from bytes, without a decoder and without I/O."""
