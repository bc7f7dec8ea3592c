"""Changes: a page of the runbooks carried out on many nodes, batch by batch, so that no job is lost.

`batches.py` plans, `moves.py` says what comes next; both are pure. The daemon carries it out (`server/conductor.py`).
"""
