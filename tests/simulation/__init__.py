"""The engine's logic and the processors in one process: no services, a fake clock, any schedule."""
