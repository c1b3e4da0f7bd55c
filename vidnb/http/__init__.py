"""HTTP semantics without I/O: ranges, validators, headers, URLs and the range response."""
