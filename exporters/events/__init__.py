"""Faults of GPUs and switches as events: read, told apart, kept, pushed."""
