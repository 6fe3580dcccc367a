"""What is inferred about a message: personal values, intent, sentiment, safety."""
