"""The Slurm client, job specs, and the configuration files rendered from the inventory."""
