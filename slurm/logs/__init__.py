"""Logs of jobs: where they are, reading them while they grow, and the errors that they tell of."""
