"""InfiniBand and RoCE devices, and network interfaces."""

from collections.abc import Iterator, Mapping

from fleetward.model.gpu_faults import Action, Severity
from fleetward.node.checking import Asked, Check, check
from fleetward.node.probes.network import FABRIC, INTERFACES, Fabric, Interfaces, Port
from fleetward.node.results import ProbeError, Trouble


@check(
    "ib_devices",
    "A device of the profile is missing, or there is one that the profile lacks.",
    FABRIC,
    Severity.FATAL,
    Action.REBOOT,
    "gcm, azurehpc-health-checks",
)
def _devices(fabric: Fabric, asked: Asked) -> Iterator[Trouble]:
    expected = set(asked.profile.infiniband.devices)
    if not expected:
        raise ProbeError("the profile does not say which InfiniBand devices there should be")
    for name in sorted(expected - set(fabric.firmware)):
        yield Trouble("the device is missing", name, {"expected": len(expected), "found": len(fabric.firmware)})
    for name in sorted(set(fabric.firmware) - expected):
        yield Trouble("the profile does not have this device", name, severity=Severity.WARNING, action=Action.WATCH)


def _wanted(fabric: Fabric, asked: Asked) -> list[Port]:
    """Return the ports that must work: those of the profile's devices, or all InfiniBand ones."""
    expected = asked.profile.infiniband.devices
    if expected:
        return [port for port in fabric.ports if port.device in expected]
    return [port for port in fabric.ports if port.link_layer == "InfiniBand"]


@check(
    "ib_port_down",
    "A port is not active, or its link is not up.",
    FABRIC,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gpud, gcm, NVSentinel",
)
def _port_down(fabric: Fabric, asked: Asked) -> Iterator[Trouble]:
    for port in _wanted(fabric, asked):
        if (port.state, port.physical) != ("ACTIVE", "LinkUp"):
            evidence = {"state": port.state, "physical": port.physical}
            # nobody said that the port is used: it may be a spare one
            severity = Severity.FATAL if asked.profile.infiniband.devices else Severity.WARNING
            yield Trouble(f"state {port.state or '?'}, link {port.physical or '?'}", port.name, evidence, severity)


@check(
    "ib_rate",
    "A port is slower than the profile says.",
    FABRIC,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gcm, azurehpc-health-checks",
)
def _rate(fabric: Fabric, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.infiniband.rate_gbits_per_second
    if expected is None:
        raise ProbeError("the profile does not say how fast the ports should be")
    for port in _wanted(fabric, asked):
        if port.rate_gbits is not None and port.rate_gbits < expected:
            evidence = {"gbits_per_second": port.rate_gbits, "expected": expected}
            yield Trouble(f"{port.rate_gbits:g} Gb/s of {expected:g}", port.name, evidence)


@check(
    "ib_firmware",
    "A device has firmware that the profile does not allow.",
    FABRIC,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "gcm, imbue cluster-health",
)
def _firmware(fabric: Fabric, asked: Asked) -> Iterator[Trouble]:
    allowed = asked.profile.infiniband.firmware
    if not allowed:
        raise ProbeError("the profile does not say which firmware is allowed")
    for name, version in fabric.firmware.items():
        if version not in allowed:
            yield Trouble(f"firmware {version or '?'}", name, {"firmware": version, "allowed": ", ".join(allowed)})


def _counter_check(
    id: str, meaning: str, counters: tuple[str, ...], severity: Severity, limits: Mapping[str, float]
) -> Check[Fabric]:
    """Make a check of counters of the ports, whose sum must pass both a count and a rate per hour of uptime."""

    def judge(fabric: Fabric, asked: Asked) -> Iterator[Trouble]:
        ports = _wanted(fabric, asked)
        if ports and not any(name in port.counters for port in ports for name in counters):
            raise ProbeError(f"no port counts {', '.join(counters)}")
        most = max(asked.limits["count"], asked.limits["per_hour"] * fabric.uptime_hours)
        for port in ports:
            counts = {name: port.counters.get(name, 0) for name in counters}
            if sum(counts.values()) > most:
                words = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
                evidence = {**counts, "uptime_hours": round(fabric.uptime_hours, 1)}
                yield Trouble(words, port.name, evidence)

    return Check(id, FABRIC, severity, Action.CHECK_FABRIC, "NVSentinel", meaning, judge, limits)


# NVSentinel looks at the increase, which one look cannot: what a boot or a distant past explains is let pass.
COUNTER_CHECKS = (
    _counter_check(
        "ib_link_downed",
        "A port's link went down more often than a boot explains.",
        ("link_downed",),
        Severity.DEGRADED,
        {"count": 2, "per_hour": 0.05},
    ),
    _counter_check(
        "ib_symbol_errors",
        "A port receives damaged symbols.",
        ("symbol_error",),
        Severity.WARNING,
        {"count": 120, "per_hour": 120},
    ),
    _counter_check(
        "ib_link_recovery",
        "A port's link was mended again and again.",
        ("link_error_recovery",),
        Severity.WARNING,
        {"count": 5, "per_hour": 1},
    ),
    _counter_check(
        "ib_buffer_overrun",
        "A port's buffers overran, or its link lost data.",
        ("excessive_buffer_overrun_errors", "local_link_integrity_errors"),
        Severity.DEGRADED,
        {"count": 0, "per_hour": 0.1},
    ),
    _counter_check(
        "ib_retries",
        "A receiver was not ready so often that connections broke.",
        ("rnr_nak_retry_err",),
        Severity.WARNING,
        {"count": 0, "per_hour": 1},
    ),
)


@check(
    "roce_slow_restart",
    "A RoCE port had to begin slowly again and again: the network drops packets.",
    FABRIC,
    Severity.WARNING,
    Action.CHECK_FABRIC,
    "NVSentinel",
    limits={"count": 1000},
)
def _roce_slow_restart(fabric: Fabric, asked: Asked) -> Iterator[Trouble]:
    for port in fabric.ports:
        count = port.counters.get("roce_slow_restart", 0)
        if count > asked.limits["count"]:
            yield Trouble(f"roce_slow_restart {count}", port.name, {"roce_slow_restart": count})


@check(
    "eth_link",
    "A network interface of the profile has no link.",
    INTERFACES,
    Severity.FATAL,
    Action.CHECK_FABRIC,
    "gcm, node-mixin",
)
def _eth_link(found: Interfaces, asked: Asked) -> Iterator[Trouble]:
    expected = asked.profile.host.interfaces
    if not expected:
        raise ProbeError("the profile does not say which interfaces must have a link")
    by_name = {one.name: one for one in found.interfaces}
    for name in expected:
        if name not in by_name:
            yield Trouble("the interface is missing", name)
        elif not by_name[name].carrier:
            yield Trouble("no link" if by_name[name].up else "down", name, {"carrier": 0})


@check(
    "eth_mtu",
    "A network interface of the profile has another MTU than the profile says.",
    INTERFACES,
    Severity.WARNING,
    Action.UPDATE_SOFTWARE,
    "gcm",
)
def _mtu(found: Interfaces, asked: Asked) -> Iterator[Trouble]:
    expected, names = asked.profile.host.mtu, asked.profile.host.interfaces
    if expected is None or not names:
        raise ProbeError("the profile does not say which interfaces have which MTU")
    for one in found.interfaces:
        if one.name in names and one.mtu is not None and one.mtu != expected:
            yield Trouble(f"MTU {one.mtu}, expected {expected}", one.name, {"mtu": one.mtu, "expected": expected})


@check(
    "eth_errors",
    "A network interface loses a share of its packets to errors.",
    INTERFACES,
    Severity.WARNING,
    Action.CHECK_FABRIC,
    "node-mixin",
    limits={"share": 0.01, "packets": 10_000},
)
def _errors(found: Interfaces, asked: Asked) -> Iterator[Trouble]:
    for one in found.interfaces:
        if one.packets >= asked.limits["packets"] and one.errors > one.packets * asked.limits["share"]:
            evidence = {"errors": one.errors, "packets": one.packets}
            yield Trouble(f"{one.errors} errors in {one.packets} packets", one.name, evidence)


@check(
    "eth_bond",
    "A bond works with fewer interfaces than it has.",
    INTERFACES,
    Severity.WARNING,
    Action.CHECK_FABRIC,
    "node-mixin",
)
def _bond(found: Interfaces, _: Asked) -> Iterator[Trouble]:
    for one in found.interfaces:
        if one.slaves_down:
            names = ", ".join(one.slaves_down)
            yield Trouble(f"down: {names}", one.name, {"down": names})


CHECKS = (
    _devices,
    _port_down,
    _rate,
    _firmware,
    *COUNTER_CHECKS,
    _roce_slow_restart,
    _eth_link,
    _mtu,
    _errors,
    _bond,
)
