"""Values and rules, pure: no I/O, no clock, no randomness (but for the making of ids)."""
