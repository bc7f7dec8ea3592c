#!/bin/sh
# Slurm's HealthCheckProgram: runs the node's checks, tells the daemon, and writes metrics for node_exporter.
#
# It ends by itself below the 60 seconds that Slurm gives it, leaves nothing behind and always exits 0. What it has to
# say goes to stderr and to syslog. Settings, each with what holds without it:
#   FLEETWARD_COMMAND         the program (/opt/fleetward/bin/fleetward)
#   FLEETWARD_NODE_SETTINGS   how the node is set up (/etc/fleetward/node.toml)
#   FLEETWARD_HEALTH_SECONDS  the time for all of it; 3 more until it is killed (20)
#   FLEETWARD_HEALTH_STATE    folder for what is kept from run to run (/var/lib/fleetward/health)
#   FLEETWARD_HEALTH_METRICS  file for the metrics, where its folder is there
#                             (/var/lib/prometheus/node-exporter/fleetward_health.prom)
set -u
umask 022
PATH=/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

context=periodic
usual=20
seconds=${FLEETWARD_HEALTH_SECONDS:-$usual}
metrics=${FLEETWARD_HEALTH_METRICS:-/var/lib/prometheus/node-exporter/fleetward_health.prom}
set -- --state "${FLEETWARD_HEALTH_STATE:-/var/lib/fleetward/health}"
[ -d "${metrics%/*}" ] && set -- "$@" --metrics "$metrics"

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
