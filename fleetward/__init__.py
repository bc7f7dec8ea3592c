"""Fleetward: provision a GPU fleet, watch it, and bring it back when it breaks."""

__version__ = "0.1.0"
