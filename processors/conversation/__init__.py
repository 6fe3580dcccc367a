"""The conversation's single writer: commands in, decisions out as events."""
