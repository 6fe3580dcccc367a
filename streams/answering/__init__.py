"""The answering stage: many turns at once, each an attempt that streams its pieces."""
