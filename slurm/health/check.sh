#!/bin/sh
# Runs the node's checks and tells the daemon: Slurm's HealthCheckProgram as it stands, and a piece of prolog and epilog.
#
# Slurm gives a HealthCheckProgram 60 seconds, has a job wait for its prolog and gives up on a batch job that is not
# launched within BatchStartTimeout (10 s), and gives a node no other job until its epilog has ended. It drains a node
# whose prolog or epilog ends with anything but 0: this always exits 0, whatever the checks found and whatever failed.
# It ends by itself in time, leaves nothing behind and writes nothing to stdout; what it has to say goes to stderr and
# to syslog. Settings, each with what holds without it:
#   FLEETWARD_CHECK_CONTEXT   periodic, prolog or epilog (periodic)
#   FLEETWARD_CHECK_SECONDS   the time for all of it; 3 more until it is killed (20, in prolog 7, in epilog 10)
#   FLEETWARD_COMMAND         the program (/opt/fleetward/bin/fleetward)
#   FLEETWARD_NODE_SETTINGS   how the node is set up (/etc/fleetward/node.toml)
#   FLEETWARD_HEALTH_STATE    folder for what periodic runs keep (/var/lib/fleetward/health)
#   FLEETWARD_HEALTH_METRICS  file for node_exporter, written by periodic runs where its folder is there
#                             (/var/lib/prometheus/node-exporter/fleetward_health.prom)
set -u
umask 022
PATH=/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

context=${FLEETWARD_CHECK_CONTEXT:-periodic}
set --
case $context in
prolog) usual=7 ;;
epilog) usual=10 ;;
*)
    context=periodic
    usual=20
    metrics=${FLEETWARD_HEALTH_METRICS:-/var/lib/prometheus/node-exporter/fleetward_health.prom}
    set -- --state "${FLEETWARD_HEALTH_STATE:-/var/lib/fleetward/health}"
    [ -d "${metrics%/*}" ] && set -- "$@" --metrics "$metrics"
    ;;
esac
seconds=${FLEETWARD_CHECK_SECONDS:-$usual}

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
