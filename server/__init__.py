"""The daemon: alerts in, runbook pages and read models out, and the only one that executes."""
