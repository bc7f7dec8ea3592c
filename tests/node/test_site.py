"""What a site says of a node: which file goes before which, and what holds where one is wrong."""

from pathlib import Path

import pytest
from played_readings import log, xid

from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_files import read_catalogue
from fleetward.model.gpu_faults import Severity
from fleetward.model.node_settings import LocalDrain, NodeSettings
from fleetward.node.check_list import BY_ID
from fleetward.node.children import begun, collect
from fleetward.node.profile import Profile
from fleetward.node.results import Finding, ProbeError, Problem, Status
from fleetward.node.site import Site, SiteFiles, read_site

RELAXED = '[[xid]]\ncode = 79\nseverity = "degraded"\n'
STRICT = '[[xid]]\ncode = 13\nseverity = "fatal"\nscope = "hardware"\n'


def raised(error: UsageError) -> None:
    raise error


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def judged(site: Site, code: int) -> Finding:
    check = BY_ID["xid_off_bus" if code == 79 else "xid_gpu"]
    (found,) = check.findings(log(xid(code)), site.profile, site.catalogue)
    return found


def test_without_files_the_defaults_hold() -> None:
    site = read_site(SiteFiles(), raised)
    assert site == Site(NodeSettings(), Profile(), read_catalogue)
    assert site.node
    assert "." not in site.node


def test_the_settings_name_profile_and_catalogues(tmp_path: Path) -> None:
    profile = write(tmp_path, "profile.toml", "[gpu]\ncount = 4\n")
    catalogue = write(tmp_path, "site.toml", RELAXED)
    text = f'node = "gpu007"\nprofile = "{profile}"\nfault_catalogues = ["{catalogue}"]\n'
    site = read_site(SiteFiles(write(tmp_path, "node.toml", text)), raised)
    assert (site.node, site.profile.gpu.count) == ("gpu007", 4)
    assert judged(site, 79).status is Status.DEGRADED


def test_what_is_typed_goes_before_the_settings(tmp_path: Path) -> None:
    settings = write(tmp_path, "node.toml", 'profile = "/none.toml"\nfault_catalogues = ["/none.toml"]\n')
    files = SiteFiles(
        settings, write(tmp_path, "profile.toml", "[gpu]\ncount = 2\n"), (write(tmp_path, "site.toml", STRICT),)
    )
    site = read_site(files, raised)
    assert site.profile.gpu.count == 2
    found = judged(site, 13)
    assert (found.status, found.severity, found.problem) == (Status.UNHEALTHY, Severity.FATAL, Problem.NODE)
    assert judged(site, 79).status is Status.UNHEALTHY, "what the site says nothing of is as it is shipped"


WRONG: list[tuple[str, str, str]] = [
    ("node.toml", "daemon = 7", "is no section"),
    ("node.toml", 'checks_left_out = ["gpu_nonsense"]', "checks_left_out names 'gpu_nonsense'"),
    ("node.toml", '[local_drain]\nchecks = ["gpu_nonsense"]', "[local_drain], checks names 'gpu_nonsense'"),
    ("profile.toml", "gpu = 8", "[gpu] is no table"),
    ("site.toml", "[[xid]]\ncode = 79\nseverity = 'awful'", "severity is 'awful'"),
    ("site.toml", "\0", "TOML"),
]


@pytest.mark.parametrize(("name", "text", "words"), WRONG)
def test_what_is_wrong_is_told_and_the_rest_holds(tmp_path: Path, name: str, text: str, words: str) -> None:
    texts = {"node.toml": 'node = "gpu007"\n', "profile.toml": "[gpu]\ncount = 2\n", "site.toml": STRICT, name: text}
    places = {each: write(tmp_path, each, content) for each, content in texts.items()}
    files = SiteFiles(places["node.toml"], places["profile.toml"], (places["site.toml"],))
    with pytest.raises(UsageError) as refused:
        read_site(files, raised)
    assert words in str(refused.value)
    told: list[UsageError] = []
    site = read_site(files, told.append)
    assert [str(one) for one in told] == [str(refused.value)]
    assert site.profile.gpu.count == (None if name == "profile.toml" else 2)
    assert judged(site, 13).status is (Status.UNKNOWN if name == "site.toml" else Status.UNHEALTHY)
    if name == "node.toml":
        assert site.settings.daemon.url == ""
        assert site.settings.local_drain in {LocalDrain(), LocalDrain(("gpu_nonsense",))}


def test_a_healthy_node_needs_no_catalogue() -> None:
    def never() -> None:
        pytest.fail("the catalogue was read")

    for check in ("xid_off_bus", "xid_gpu", "sxid", "xid_fatal_repeated", "xid_program_spread"):
        (found,) = BY_ID[check].findings(log("Linux version 6.1"), Profile(), never)  # type: ignore[arg-type]
        assert found.status is Status.HEALTHY


def test_where_no_process_can_be_started_a_probe_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", no_fork)
    answer = collect({"probe": begun(lambda: 7, 1.0)})["probe"]
    assert isinstance(answer, ProbeError)
    assert "no process can be started" in str(answer)
