"""Answering: what a tenant knows, what fits a message, and what to say."""
