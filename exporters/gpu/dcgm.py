"""The GPUs of this node as DCGM's host engine shows them, in the form in which NVML shows them.

The host engine looks at them at an interval, for all who ask it, and hands out what it saw last. What it does not tell
comes from NVML: the processes on a GPU (nvml_processes.py), and XIDs, for which a process of its own waits.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial

from fleetward.exporters.gpu.dcgm_connection import Bindings, DcgmConnection, DcgmFailedError, DcgmObject, load_bindings
from fleetward.exporters.gpu.dcgm_table import DEVICE, PROFILING, DcgmField
from fleetward.exporters.gpu.dcgm_values import text_of, values_of, whole_of
from fleetward.exporters.gpu.nvml import kernel_bus_id
from fleetward.exporters.gpu.nvml_processes import NvmlProcesses
from fleetward.exporters.gpu.readings import CallError, Census, GpuIdentity, GpuReading
from fleetward.exporters.gpu.series_list import BY_KEY
from fleetward.exporters.gpu.source import OpenSource
from fleetward.model.errors import OutOfReachError

ADDRESS = "127.0.0.1:5555"
"""Where nv-hostengine listens of itself."""
LINKS_SECONDS = 10.0
"""How often the state of NVLinks is asked for: each time the host engine asks the driver for every link."""

_NOBODY, _GPU = 0, 1
"""Of what a field may be (DCGM_FE_NONE, DCGM_FE_GPU)."""
_LIVE = 1
"""Ask the driver now (DCGM_FV_FLAG_LIVE_DATA), as is right for what never changes."""
_LINK_STATES = {1: 0.0, 2: 0.0, 3: 1.0}
"""dcgmNvLinkLinkState_t: disabled, down, up."""
_TROUBLES = {2: "not supported by DCGM", 3: "out of its reach", 4: "lost", 6: "disabled", 7: "detached"}
"""DcgmEntityStatus_t."""
_MODEL, _INDEX, _SERIAL, _UUID, _MINOR, _BUS, _VBIOS = _IDENTITY = (50, 52, 53, 54, 55, 57, 85)
"""Fields by DCGM's numbers, as are those below."""
_DRIVER, _NVML, _CUDA = _VERSIONS = (1, 2, 5)


def dcgm_source(address: str, interval_seconds: float) -> OpenSource:
    """Return what opens DCGM in a process; raises OutOfReachError where its Python bindings are not on this host."""
    return partial(Dcgm, load_bindings(), address, interval_seconds)


class Dcgm:
    """Asks the host engine from one thread, and connects again where it was away."""

    def __init__(self, bindings: Bindings, address: str, interval_seconds: float) -> None:
        """Have the host engine look at every GPU at the interval; raises OutOfReachError where it does not answer."""
        self.errors: Counter[CallError] = Counter()
        self._connection = DcgmConnection(bindings, address, self.errors)
        self._interval = interval_seconds
        self._processes = NvmlProcesses(self.errors)
        self._forget()
        self._begin()

    def census(self) -> Census:
        """Ask how many GPUs there are, and which driver."""
        try:
            self._be_connected()
            self._list()
        except OutOfReachError as error:
            return Census(failure=str(error))
        except DcgmFailedError as error:
            return Census(failure=f"DCGM's host engine does not answer ({error})")
        cuda = whole_of(self._versions.get(_CUDA)) or 0
        return Census(
            count=max(self._at, default=-1) + 1,
            driver=text_of(self._versions.get(_DRIVER)),
            nvml=text_of(self._versions.get(_NVML)),
            cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        )

    def look(self, index: int) -> GpuReading:
        """Look at one GPU; one that does not answer has no values, and nothing is raised for it.

        `taken_at` is when the host engine was first seen to have something new of the GPU: where it has nothing new
        any more, the reading grows old.
        """
        begun = time.monotonic()
        try:
            self._be_connected()
            return self._look(index, begun)
        except (OutOfReachError, DcgmFailedError) as error:
            return self._unanswered(index, str(error), begun)

    def _look(self, index: int, begun: float) -> GpuReading:
        if index not in self._at:
            self._list()
        gpu = self._at.get(index)
        if gpu is None:
            return self._unanswered(index, "DCGM does not list it", begun)
        trouble = _TROUBLES.get(int(self._connection.ask("dcgmGetGpuStatus", gpu)))
        if trouble:
            return self._unanswered(index, f"DCGM says that it is {trouble}", begun)
        identity = self._known[gpu]
        found = [
            value
            for fields in self._watched
            for value in self._connection.ask("dcgmEntityGetLatestValues", _GPU, gpu, fields)
        ]
        values = values_of(found)
        if all(value is None for value in values):
            return self._unanswered(index, "DCGM has no value of it", begun)
        for link, state in enumerate(self._links(gpu)):
            place = BY_KEY.get(f"gpu_nvlink_up.{link}")
            if place is not None:
                values[place] = _LINK_STATES.get(state)
        taken_at = self._taken_at(gpu, max(int(value.ts) for value in found))
        processes = self._processes.of(identity.uuid)
        return GpuReading(
            identity,
            values,
            processes or (),
            taken_at=taken_at,
            seconds=time.monotonic() - begun,
            processes_told=processes is not None,
        )

    def _be_connected(self) -> None:
        if not self._connection.made:
            self._begin()

    def _forget(self) -> None:
        """Forget what was known by the numbers of a host engine that may be another by now."""
        self._versions: dict[int, DcgmObject] = {}
        self._watched: list[tuple[int, ...]] = []
        self._known: dict[int, GpuIdentity] = {}
        """By DCGM's number of the GPU."""
        self._at: dict[int, int] = {}
        """DCGM's number by NVML's index."""
        self._newest: dict[int, tuple[int, float]] = {}
        """When the host engine says that it looked last, and when that was news here."""
        self._link_states: dict[int, list[int]] = {}
        self._links_until = 0.0

    def _begin(self) -> None:
        self._connection.make()
        self._forget()
        try:
            self._watched = [self._connection.watch(_ids(DEVICE), self._interval)]
            with contextlib.suppress(DcgmFailedError):  # a host without that module is as one without these series
                self._watched.append(self._connection.watch(_ids(PROFILING), self._interval))
            self._connection.ask("dcgmUpdateAllFields", 1)
            self._versions = self._unchanging(_NOBODY, 0, _VERSIONS)
        except DcgmFailedError as error:
            self._connection.end()
            raise OutOfReachError(
                f"DCGM's host engine does not do what it is asked ({error}): is it of the version of its Python "
                "bindings? Restart it with `systemctl restart nvidia-dcgm`"
            ) from error

    def _list(self) -> None:
        """Learn which GPUs there are; one that has no index of NVML's is not the driver's any more."""
        listed = [int(gpu) for gpu in self._connection.ask("dcgmGetAllDevices")]
        for gpu in listed:
            if gpu not in self._known or not self._known[gpu].uuid:
                identity = self._identity(gpu)
                if identity:
                    self._known[gpu] = identity
        self._at = {self._known[gpu].index: gpu for gpu in listed if gpu in self._known}

    def _identity(self, gpu: int) -> GpuIdentity | None:
        told = self._unchanging(_GPU, gpu, _IDENTITY)
        index = whole_of(told.get(_INDEX))
        if index is None or index < 0:
            return None
        return GpuIdentity(
            index=index,
            uuid=text_of(told.get(_UUID)),
            model=text_of(told.get(_MODEL)),
            serial=text_of(told.get(_SERIAL)),
            pci_bus_id=kernel_bus_id(text_of(told.get(_BUS))),
            minor_number=whole_of(told.get(_MINOR)),
            vbios_version=text_of(told.get(_VBIOS)),
            nvlinks=sum(1 for state in self._links(gpu) if state),
        )

    def _unchanging(self, kind: int, number: int, fields: tuple[int, ...]) -> dict[int, DcgmObject]:
        """Return values by field, asked of the driver."""
        of = self._connection.bindings.structs.c_dcgmGroupEntityPair_t()
        of.entityGroupId, of.entityId = kind, number
        return {
            int(value.fieldId): value
            for value in self._connection.ask("dcgmEntitiesGetLatestValues", [of], fields, _LIVE)
        }

    def _links(self, gpu: int) -> list[int]:
        """Return the state of each NVLink of a GPU; the host engine tells all GPUs' together."""
        if time.monotonic() >= self._links_until or gpu not in self._link_states:
            self._links_until = time.monotonic() + LINKS_SECONDS
            self._link_states = self._all_links()
        return self._link_states.setdefault(gpu, [])

    def _all_links(self) -> dict[int, list[int]]:
        try:
            told = self._connection.ask("dcgmGetNvLinkLinkStatus")
        except DcgmFailedError:
            if self._connection.made:
                return {}  # a host engine that does not tell of links tells of all else
            raise
        gpus = (told.gpus[place] for place in range(int(told.numGpus)))
        return {int(gpu.entityId): list(gpu.linkState) for gpu in gpus}

    def _taken_at(self, gpu: int, newest: int) -> float:
        before = self._newest.get(gpu)
        if before is None or before[0] != newest:
            self._newest[gpu] = (newest, time.monotonic())
        return self._newest[gpu][1]

    def _unanswered(self, index: int, failure: str, begun: float) -> GpuReading:
        gpu, ended = self._at.get(index, -1), time.monotonic()
        identity = self._known.get(gpu) or GpuIdentity(index, "")
        return GpuReading(identity, None, failure=failure, taken_at=ended, seconds=ended - begun)


def _ids(fields: Iterable[DcgmField]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(field.id for field in fields))
