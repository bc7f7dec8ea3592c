"""Every number that is read of a GPU, with its source: NVML's function, or its field by the number in nvml.h.

A GPU or driver that lacks one has no such series. Calls that block on hardware are left out, such as
nvmlDeviceGetPcieThroughput (20 ms for each direction).
"""

from collections.abc import Mapping

from fleetward.exporters.gpu.series import Series
from fleetward.exporters.gpu.series_health import health_series
from fleetward.exporters.gpu.series_load import load_series

SERIES: tuple[Series, ...] = (*load_series(), *health_series())
"""In the order of the page; series of one metric stand together."""

BY_KEY: Mapping[str, int] = {one.key: place for place, one in enumerate(SERIES)}
"""Place in SERIES, and in a GPU's values."""
