"""The Slurm exporter: what slurmctld says of nodes and jobs, asked once an interval whoever scrapes."""
