"""An inventory of a Slurm that others configure."""
