"""A lab's life: up, grown or shrunk, down. Every step can be interrupted and taken up again."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from fleetward.lab import access, image, inventory
from fleetward.lab.engine import Engine
from fleetward.lab.host import START_BYTES, read_facts, require_disk, require_root
from fleetward.lab.progress import Progress
from fleetward.lab.spec import LabSpec, LabState
from fleetward.model.errors import UsageError


@contextlib.contextmanager
def held(state: LabState) -> Iterator[None]:
    """Hold the lab's lock: two commands never change one lab at a time."""
    state.lock.parent.mkdir(parents=True, exist_ok=True)
    with state.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another command is changing the lab {state.folder.name!r}: wait for it to end") from None
        yield
    state.lock.unlink(missing_ok=True)


def open_engine() -> Engine:
    """Return the engine of this machine; refuse at once where a lab cannot run."""
    require_root()
    return Engine(read_facts())


def start(engine: Engine, spec: LabSpec, state: LabState, progress: Progress) -> None:
    """Bring up image, network, containers and SSH: all that provisioning needs. What is there is kept."""
    with progress.step(f"Node image {spec.suite}{' (bare)' if spec.bare else ''}") as detail:
        if image.is_cached(engine, spec):
            detail("cached")
        else:
            detail("building with mmdebstrap, once")
            image.build(engine, spec)
    require_disk(engine.facts.storage, START_BYTES, "starting the lab's containers")
    with progress.step(f"{len(spec.hosts)} hosts in {spec.subnet}") as detail:
        state.home.mkdir(parents=True, exist_ok=True)
        access.make_key(state)
        if "running" not in engine.states(spec.name).values():
            engine.remove_network(spec)  # with the addresses that a start which was cut off may have kept
        engine.create_network(spec)
        _match_containers(engine, spec, state)
        detail("waiting for SSH")
        access.learn_host_keys(engine, spec, state)
        inventory.write(spec, state)


def _match_containers(engine: Engine, spec: LabSpec, state: LabState) -> None:
    """Make the containers those that the lab wants: remove what is too much or broken, start what lacks."""
    states = engine.states(spec.name)
    wanted = {spec.container(host.name): host for host in spec.hosts}
    for name, now in states.items():
        if name not in wanted or now != "running":
            engine.remove(name)
    missing = [host for name, host in wanted.items() if states.get(name) != "running"]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda host: engine.start(spec, host, state), missing))


def is_running(engine: Engine, spec: LabSpec) -> bool:
    """Tell whether exactly the containers of this lab run."""
    return engine.states(spec.name) == {spec.container(host.name): "running" for host in spec.hosts}


def down(engine: Engine, name: str, progress: Progress) -> bool:
    """Remove everything of a lab, also of one that was half made; False where nothing was there."""
    state = LabState.of(name)
    with held(state):
        spec = _kept_spec(state) or LabSpec(name=name)
        containers = engine.states(name)
        found = bool(containers) or state.folder.exists()
        with progress.step(f"Removing lab {name!r}"):
            with ThreadPoolExecutor(max_workers=4) as pool:
                list(pool.map(engine.remove, {*containers, *map(spec.container, (h.name for h in spec.hosts))}))
            engine.remove_network(spec)
            shutil.rmtree(state.folder, ignore_errors=True)
    return found


def _kept_spec(state: LabState) -> LabSpec | None:
    with contextlib.suppress(UsageError):  # a damaged record must not keep a lab from being removed
        kept = state.read()
        return kept[0] if kept else None
    return None
