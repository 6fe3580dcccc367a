"""Trains and measures the models that ship with the project; needs the `train` extra."""
