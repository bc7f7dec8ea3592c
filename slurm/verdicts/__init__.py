"""What became of jobs and why: attempts, causes, what a waiting job waits for, what it all cost."""
