"""Multiply the same two matrices on each GPU for a while, and count results that differ from the first one.

It runs on a node by itself, with any Python that has PyTorch; nothing else of Fleetward need be there. It prints one
line of JSON. Exit codes: 0 measured, whatever was found; 3 where PyTorch or the GPUs are not there.
"""

import argparse
import importlib
import json
import sys
import time
from typing import Any

NOT_THERE = 3


def main() -> int:
    """Measure the GPUs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, required=True, help="GPUs that there should be")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long all of them are kept busy")
    parser.add_argument("--order", type=int, default=8192, help="rows of the matrices")
    parser.add_argument("--batch", type=int, default=100, help="products between two looks at the result")
    parser.add_argument("--kind", default="cuda", help="kind of device, as PyTorch names it")
    asked = parser.parse_args()
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        return tell({"error": f"PyTorch cannot be imported: {error}"}, NOT_THERE)
    if asked.kind == "cuda" and not torch.cuda.is_available():
        return tell({"error": "PyTorch finds no GPU, or was built without CUDA"}, NOT_THERE)
    # made by a processor, so that every GPU gets the same
    generator = torch.Generator().manual_seed(1)
    pair = [torch.randn(asked.order, asked.order, generator=generator).to(torch.bfloat16) for _ in range(2)]
    devices = [Device(torch, torch.device(asked.kind, index), pair, asked.batch) for index in range(asked.devices)]
    until = time.monotonic() + asked.seconds
    while True:
        for one in devices:
            one.multiply()
        for one in devices:
            one.look()
        if time.monotonic() >= until:
            break
    return tell({"torch": str(torch.__version__), "devices": [one.told() for one in devices]}, 0)


def tell(found: dict[str, object], code: int) -> int:
    """Print what was found as one line, and return the exit code."""
    sys.stdout.write(json.dumps({"matrix_product": found}) + "\n")
    return code


class Device:
    """One GPU with its two matrices, the first product of them, and what came of the others."""

    def __init__(self, torch: Any, device: Any, pair: list[Any], batch: int) -> None:  # noqa: ANN401  PyTorch's own
        """Put the matrices there and multiply them once."""
        self.torch, self.device, self.batch = torch, device, batch
        self.order = len(pair[0])
        self.products = self.mismatches = 0
        self.seconds = 0.0
        self.error = ""
        try:
            self.one, self.other = (matrix.to(device) for matrix in pair)
            self.out = self.one @ self.other
            self.first = self.out.clone()
            self.checksum = int(self.first.view(torch.int16).to(torch.int64).sum())
            self.clock = Clock(torch, device)
        except RuntimeError as error:
            self.error = str(error)

    def multiply(self) -> None:
        """Tell the GPU to multiply some times; it works while others are told."""
        if self.error:
            return
        try:
            self.clock.begin()
            for _ in range(self.batch):
                self.torch.matmul(self.one, self.other, out=self.out)
            self.clock.end()
        except RuntimeError as error:
            self.error = str(error)

    def look(self) -> None:
        """Wait for the products and compare the last one with the first, bit by bit."""
        if self.error:
            return
        try:
            self.seconds += self.clock.seconds()
            self.products += self.batch
            if not self.torch.equal(self.out, self.first):
                self.mismatches += 1
        except RuntimeError as error:
            self.error = str(error)

    def told(self) -> dict[str, object]:
        """Return what is to be known of it."""
        if self.error:
            return {"index": self.device.index, "error": self.error}
        return {
            "index": self.device.index,
            "tflops": self.products * 2 * self.order**3 / max(self.seconds, 1e-9) / 1e12,
            "products": self.products,
            "mismatches": self.mismatches,
            "checksum": self.checksum,
        }


class Clock:
    """Measures what one GPU takes, by its own clock: a slow one beside it must not count."""

    def __init__(self, torch: Any, device: Any) -> None:  # noqa: ANN401  PyTorch's own
        """Make what is to be recorded; a processor has no events, and works while it is told."""
        self.torch, self.device = torch, device
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device.type == "cuda" else []
        self.times = [0.0, 0.0]

    def begin(self) -> None:
        """Mark the beginning."""
        self._mark(0)

    def end(self) -> None:
        """Mark the end."""
        self._mark(1)

    def _mark(self, which: int) -> None:
        if self.events:
            self.events[which].record(self.torch.cuda.current_stream(self.device))
        else:
            self.times[which] = time.monotonic()

    def seconds(self) -> float:
        """Wait for the end, and return the seconds between the two marks."""
        if not self.events:
            return self.times[1] - self.times[0]
        self.events[1].synchronize()
        return float(self.events[0].elapsed_time(self.events[1])) / 1000


if __name__ == "__main__":
    sys.exit(main())
