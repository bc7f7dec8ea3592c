"""`python -m fleetward`."""

from fleetward.main import main

main()
