"""The commands, one file per noun. Each is imported only when it is run."""
