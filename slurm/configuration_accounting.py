"""The accounts, users and QOS that the cluster's accounting is to have, as data."""

from typing import Any

from fleetward.model.fleet import Fleet


def accounting(fleet: Fleet) -> dict[str, Any]:
    """Return the desired state of sacctmgr's entities.

    `qos` maps names to limits, `accounts` names to parent, description, organization, qos, default_qos and limits,
    `users` names to accounts and default_account (the first declared account that lists the user).
    """
    users: dict[str, dict[str, Any]] = {}
    for account in fleet.accounts:
        for name in account.users:
            user = users.setdefault(name, {"default_account": account.name, "accounts": []})
            user["accounts"].append(account.name)
    return {
        "cluster": fleet.cluster,
        "qos": {qos.name: dict(qos.limits) for qos in fleet.qos},
        "accounts": {
            account.name: {
                "parent": account.parent,
                "description": account.description,
                "organization": account.organization,
                "qos": list(account.qos),
                "default_qos": account.default_qos,
                "limits": dict(account.limits),
            }
            for account in fleet.accounts
        },
        "users": {name: {**user, "accounts": sorted(set(user["accounts"]))} for name, user in users.items()},
    }
