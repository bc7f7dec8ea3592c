"""Slurm's parameters where the inventory says nothing: a production cluster on cgroup v2."""

from collections.abc import Mapping

from fleetward.model.fleet import DATABASE_GROUP, NODE_HEALTH_GROUP, SLURM_NODE_GROUP, Fleet
from fleetward.slurm.configuration_scripts import EPILOG, PROLOG

HEALTH_CHECK = "/usr/local/libexec/fleetward/health_check"
"""What slurmd runs on each node of NODE_HEALTH_GROUP; the role node_health puts it there."""
MOST_CHECKED_AT_ONCE = 1000
"""Nodes; the checks of a larger fleet are spread over the interval, by slurmctld."""
JWT_KEY_FILE = "/var/lib/slurm/jwt_hs256.key"

_DEFAULTS: Mapping[str, str] = {
    "AuthType": "auth/munge",
    "CredType": "cred/munge",
    "AuthAltTypes": "auth/jwt",
    "AuthAltParameters": f"jwt_key={JWT_KEY_FILE}",
    "SlurmUser": "slurm",
    "SlurmctldPort": "6817",
    "SlurmdPort": "6818",
    # Nodes fetch all of this from the controller and keep no copy that could be stale.
    "SlurmctldParameters": "enable_configless",
    # The paths of Debian's units.
    "SlurmctldPidFile": "/run/slurmctld/slurmctld.pid",
    "SlurmdPidFile": "/run/slurmd.pid",
    "StateSaveLocation": "/var/lib/slurm/slurmctld",
    "SlurmdSpoolDir": "/var/lib/slurm/slurmd",
    "SlurmctldLogFile": "/var/log/slurm/slurmctld.log",
    "SlurmdLogFile": "/var/log/slurm/slurmd.log",
    "MailProg": "/usr/bin/true",
    "MpiDefault": "none",
    "SchedulerType": "sched/backfill",
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_Core_Memory",
    "PriorityType": "priority/multifactor",
    "PriorityWeightAge": "1000",
    "PriorityWeightFairshare": "10000",
    "PriorityWeightPartition": "1000",
    "PriorityWeightQOS": "10000",
    "ProctrackType": "proctrack/cgroup",
    "TaskPlugin": "task/cgroup,task/affinity",
    "JobAcctGatherType": "jobacct_gather/cgroup",
    "JobAcctGatherFrequency": "30",
    "PrologFlags": "Alloc,Contain",
    "JobRequeue": "1",
    # A job that a broken node has ended can be requeued as long as slurmctld keeps it: give who approves that an hour.
    "MinJobAge": "3600",
    "ReturnToService": "1",
    "SlurmctldTimeout": "120",
    "SlurmdTimeout": "300",
    "KillWait": "30",
    "UnkillableStepTimeout": "180",
}

CGROUP_DEFAULTS: Mapping[str, str] = {
    "CgroupPlugin": "cgroup/v2",
    "ConstrainCores": "yes",
    "ConstrainDevices": "yes",
    "ConstrainRAMSpace": "yes",
}


def slurm_defaults(fleet: Fleet) -> dict[str, str]:
    """Return the defaults, with what follows from the fleet's GPUs, switches and checks."""
    parameters = dict(_DEFAULTS)
    if gpu_models(fleet):
        parameters |= {"GresTypes": "gpu", "Prolog": PROLOG, "Epilog": EPILOG}
    if fleet.members(NODE_HEALTH_GROUP):
        at_once = len(fleet.members(SLURM_NODE_GROUP))
        # Not below 60 s: newer Slurms refuse an interval that is no longer than what a check may take.
        parameters |= {
            "HealthCheckProgram": HEALTH_CHECK,
            "HealthCheckInterval": "120",
            "HealthCheckNodeState": "ANY,CYCLE" if at_once > MOST_CHECKED_AT_ONCE else "ANY",
        }
    if any(node.leaf_switch for node in fleet.members(SLURM_NODE_GROUP)):
        parameters["TopologyPlugin"] = "topology/tree"
    return parameters


def accounting_parameters(fleet: Fleet) -> dict[str, str]:
    """Return what makes slurmctld account to slurmdbd; empty where the fleet has no database."""
    databases = fleet.members(DATABASE_GROUP)
    if not databases:
        return {}
    parameters = {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": databases[0].name,
        "AccountingStorageEnforce": "associations,limits,qos",
    }
    if len(databases) > 1:
        parameters["AccountingStorageBackupHost"] = databases[1].name
    models = gpu_models(fleet)
    if models:
        parameters["AccountingStorageTRES"] = ",".join(["gres/gpu", *(f"gres/gpu:{model}" for model in models)])
    return parameters


def gpu_models(fleet: Fleet) -> list[str]:
    """Return the models of all GPUs that Slurm hands out."""
    return sorted(
        {
            node.profile.gpu.model
            for node in fleet.members(SLURM_NODE_GROUP)
            if node.profile is not None and node.profile.gpu is not None
        }
    )
