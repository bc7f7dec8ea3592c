"""Burn-in of nodes: workloads as Slurm jobs, what their results say, and certificates of that."""
