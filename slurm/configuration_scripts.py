"""The prolog and epilog that slurmctld hands to its nodes together with the configuration.

Their names in slurm.conf have no folder, so that Slurm sends the scripts along (configless): a node never has a
configuration that names a script which it lacks, for which Slurm would drain it.
"""

from functools import cache
from pathlib import Path

import fleetward

PROLOG, EPILOG = "prolog.sh", "epilog.sh"
"""Beside slurm.conf."""
SITE_FOLDERS = {
    PROLOG: "${FLEETWARD_SITE_PROLOGS:-/etc/slurm/prolog.d}",
    EPILOG: "${FLEETWARD_SITE_EPILOGS:-/etc/slurm/epilog.d}",
}
"""On a node: the site's own programs, run after ours in the order of their names. Neither folder need be there."""

_PIECES = {
    PROLOG: ("job_map/prolog.sh", "health/check.sh"),
    EPILOG: ("health/check.sh", "job_map/epilog.sh"),
}
"""In `slurm/`, in the order in which they are run."""
_CONTEXT = {PROLOG: "prolog", EPILOG: "epilog"}
_ROOT = Path(fleetward.__file__).parent / "slurm"

_SITE = """\
# The site's own. The first one that fails is what Slurm is told: it drains the node.
status=0
for program in "{folder}"/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    "$program" || status=$?
    [ "$status" = 0 ] || {after_failure}
done
exit "$status"
"""
_AFTER_FAILURE = {PROLOG: "break", EPILOG: "continue"}
"""A job that does not begin needs no more; after one that ended all is to be cleared away that can be."""


@cache
def script(name: str) -> str:
    """Return the text of PROLOG or EPILOG: our pieces, which never fail, then what the site has put into its folder."""
    pieces = [f"(\n{_body(_ROOT / piece)})\n" for piece in _PIECES[name]]
    site = _SITE.format(folder=SITE_FOLDERS[name], after_failure=_AFTER_FAILURE[name])
    header = (
        "#!/bin/sh\n# Rendered by fleetward: a change made here is lost.\n"
        f"export FLEETWARD_CHECK_CONTEXT={_CONTEXT[name]}\n"
    )
    return "\n".join([header, *pieces, site])


def _body(piece: Path) -> str:
    """Return a script without its first line; it runs in a shell of its own, so that its exit ends nothing else."""
    return piece.read_text(encoding="utf-8").partition("\n")[2]
