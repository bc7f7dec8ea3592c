"""Measure what is promised and print it beside its goal, with this machine's facts: `make bench`."""

import argparse
import sys

from bench import change, check, command, events, exporter, lab, loop, queue, render, screen
from bench.figures import Figure, print_figures


def main() -> int:
    """Run the chosen measurements; exit 5 where a goal is missed."""
    parts = {
        "command": command.measure,
        "render": render.measure,
        "screen": screen.measure,
        "exporter": exporter.measure,
        "events": events.measure,
        "check": check.measure,
        "queue": queue.measure,
        "lab": lab.measure,
        "loop": loop.measure,
        "change": change.measure,
    }
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], *parts], help="all of them where none is named")
    chosen = parser.parse_args().part or list(parts)
    figures: list[Figure] = []
    for name in chosen:
        figures += parts[name]()
    print_figures(figures)
    return 5 if any(not figure.met for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
