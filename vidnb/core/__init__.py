"""Pure decisions: stdlib only, no I/O, no clock, no randomness, no logging."""
