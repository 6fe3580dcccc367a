"""Four ways in which stock Faust loses records, each beside this engine on the same input."""
