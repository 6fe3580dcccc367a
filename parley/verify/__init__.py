"""Compares the log with everything that was made of it, conversation by conversation."""
