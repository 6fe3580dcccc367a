"""A real stack under seeded load and faults, and an oracle that judges what became of it."""
