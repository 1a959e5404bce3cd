"""Features in, total order out. No I/O, clock, randomness or environment."""
