#!/bin/sh
# A piece of Slurm's Epilog: runs the checks for the moment after a job and tells the daemon what they found.
#
# The node takes no other job until it has ended.
# Slurm drains a node whose epilog ends with anything but 0: this one always exits 0, whatever the checks found and
# whatever failed. It writes nothing to stdout; what it has to say goes to stderr and to syslog. Settings:
#   FLEETWARD_COMMAND         the program (/opt/fleetward/bin/fleetward)
#   FLEETWARD_NODE_SETTINGS   how the node is set up (/etc/fleetward/node.toml)
#   FLEETWARD_EPILOG_SECONDS  the time for all of it; 3 more until it is killed (10)
set -u
umask 022
PATH=/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

context=epilog
usual=10
seconds=${FLEETWARD_EPILOG_SECONDS:-$usual}
set --

command=${FLEETWARD_COMMAND:-/opt/fleetward/bin/fleetward}
settings=${FLEETWARD_NODE_SETTINGS:-/etc/fleetward/node.toml}

# A node on which nobody has installed it is none of ours.
[ -e "$command" ] || exit 0
case $seconds in '' | 0* | *[!0-9]* | ????*) seconds=$usual ;; esac

# What is said goes into a file, not into Slurm's pipe: Slurm waits until nobody holds that any more, and a process that
# hangs in a driver, which not even SIGKILL ends, would hold it.
said=$(mktemp /tmp/fleetward-health.XXXXXX 2>/dev/null) || said=/dev/null
timeout --foreground -k 1 "$((seconds + 2))" "$command" check --report --context "$context" --settings "$settings" \
    --within "$seconds" "$@" </dev/null >/dev/null 2>"$said"
status=$?
[ "$status" = 0 ] || echo "fleetward check --context $context ended with $status" >>"$said"
if [ -s "$said" ]; then
    head -c 4000 "$said" >&2
    timeout --foreground -k 1 2 logger --tag fleetward-health --file "$said" 2>/dev/null
fi
[ "$said" = /dev/null ] || rm -f "$said"
exit 0
