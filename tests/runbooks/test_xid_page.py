"""The table of the page about fatal XIDs, held against the catalogue."""

import re

from fleetward.commands.release import release
from fleetward.exporters.events.kernel_lines import FELL_OFF_THE_BUS
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import Severity
from fleetward.runbooks.library import library


def in_the_table() -> list[int]:
    rows = re.findall(r"^\| ([\d, ]+) \|", library().page("gpu-xid-fatal").text, re.MULTILINE)
    return [int(code) for row in rows for code in row.split(",")]


def test_every_fatal_xid_without_a_page_of_its_own_is_in_the_table_once() -> None:
    fatal = set(read_catalogue().fatal_xids()) - {FELL_OFF_THE_BUS}
    assert fatal <= set(in_the_table())
    assert len(set(in_the_table())) == len(in_the_table())


def test_the_table_has_nothing_that_may_be_left_as_it_is() -> None:
    assert {code for code in in_the_table() if read_catalogue().xid(code).severity < Severity.DEGRADED} == set()


def test_the_exporter_lets_the_gpus_go_before_the_reset_and_looks_again_after_it() -> None:
    text = library().page("gpu-xid-fatal").text
    lines = next(block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "--gpu-reset" in block)
    commands = [line.partition("#")[0].split() for line in lines.splitlines()]
    order = [words[:2] for words in commands]
    reset = order.index(["nvidia-smi", "--gpu-reset"])
    assert order.index(["fleetward", "release"]) < reset
    assert commands[-1] == ["fleetward", "release", "--end"]
    asked = next(words for words in commands if words[:2] == ["fleetward", "release"])
    release.make_context("release", ["1" if word == "}}" else word for word in asked[2:] if word not in {"{{", "gpu"}])
