"""What is promised about speed, measured: `make bench`."""
