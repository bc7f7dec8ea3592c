"""What a step can do, one file per kind."""
