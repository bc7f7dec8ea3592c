#!/usr/bin/env bash
# Runs the Molecule scenarios of roles, one after the other, each on hosts of its own: check mode, converge, idempotence, verify.
#
#   tools/molecule.sh [--suite trixie|forky] [--baked] [--keep] ROLE...
#
# --baked   hosts have Slurm's packages already; without it the role has to install them
# --keep    leave the hosts of a scenario that failed, to look at: `fleetward lab shell --name molecule`
set -euo pipefail
cd "$(dirname "$0")/.."

destroy=always
while [ $# -gt 0 ]; do
    case $1 in
        --suite) export FLEETWARD_MOLECULE_SUITE=${2:?--suite wants trixie or forky}; shift 2 ;;
        --baked) export FLEETWARD_MOLECULE_BAKED=yes; shift ;;
        --keep) destroy=never; shift ;;
        -*) echo "molecule.sh: there is no option $1" >&2; exit 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "usage: tools/molecule.sh [--suite SUITE] [--baked] [--keep] ROLE..." >&2; exit 2; }
for role in "$@"; do
    [ -f "molecule/$role/molecule.yml" ] || { echo "molecule.sh: there is no scenario $role in molecule/" >&2; exit 2; }
done

export FLEETWARD_MOLECULE_LAB=${FLEETWARD_MOLECULE_LAB:-molecule} # another name lets two runs go side by side
export FLEETWARD_LAB_STATE=${XDG_STATE_HOME:-$HOME/.local/state}/fleetward/lab/$FLEETWARD_MOLECULE_LAB
export PATH=$PWD/.venv/bin:$PATH
# An interrupted run must not leave its hosts behind either.
[ "$destroy" = never ] || trap 'fleetward lab down --name "$FLEETWARD_MOLECULE_LAB" >/dev/null 2>&1 || true' EXIT

for role in "$@"; do
    echo "==> role $role" >&2
    # `--destroy never` also leaves out the destroy at the start, and would go on with what another run has kept.
    [ "$destroy" = always ] || molecule destroy --scenario-name "$role"
    molecule test --destroy "$destroy" --scenario-name "$role"
done
