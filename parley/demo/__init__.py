"""`make demo`: shows on a real stack what Parley promises, and fails where it does not hold."""
