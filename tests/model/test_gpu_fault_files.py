"""Files of a site over the shipped catalogue: what they change, and what is wrong in one that cannot be taken."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.model.errors import UsageError
from fleetward.model.gpu_fault_files import SHIPPED, read_catalogue, read_shipped
from fleetward.model.gpu_faults import Action, FaultCatalogue, FaultKind, Scope, Severity

FATAL_149 = "NVRM: Xid (PCI:0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x0)"

WRONG = (
    # what the file says, what the error says of it
    ("[[xid]]\ncode = 109\nseverity = ", "is not TOML"),
    (
        '[[xid]]\ncode = 109\nseverity = "bad"',
        "xid 109: severity is 'bad'; write one of info, warning, degraded, fatal",
    ),
    ("[[xid]]\ncode = 109\nseverity = 3", "xid 109: severity is 3; write one of info"),
    ('[[xid]]\ncode = 109\naction = "pray"', "xid 109: action is 'pray'; write one of ignore, restart_app"),
    ('[[xid]]\ncode = 109\nscope = ["app", "moon"]', "xid 109: scope is 'moon'; write one of app, driver"),
    ("[[xid]]\ncode = 109\nscope = []", "xid 109: scope is []; write each once, one of app"),
    ('[[xid]]\ncode = 109\nscope = ["app", "app"]', "xid 109: scope is ['app', 'app']; write each once"),
    ('[[xid]]\ncode = 109\nfatal = "yes"', "xid 109: fatal is 'yes'; write true or false"),
    ("[[xid]]\ncode = 109\nfatal = 1", "xid 109: fatal is 1; write true or false"),
    ('[[xid]]\ncode = 109\nfatal = true\nseverity = "info"', "xid 109: fatal is true and severity is info; leave one"),
    ('[[xid]]\ncode = 109\nfatal = false\nseverity = "fatal"', "xid 109: fatal is false and severity is fatal"),
    ('[[xid]]\ncode = 109\nmeaning = " "', "xid 109: meaning is ' '; write a text"),
    (
        '[[xid]]\ncode = 109\nseverty = "info"',
        "xid 109: 'severty' is no key; write one of code, meaning, severity, fatal",
    ),
    ('[[xid]]\ncode = 109\nexample = "x"', "xid 109: 'example' is no key"),
    ("[[xid]]\ncode = 109", "xid 109: changes nothing; say meaning, severity, fatal, scope or action"),
    ('[[xid]]\nseverity = "info"', "[[xid]] number 1: code is missing; write a whole number from 1 to 99999"),
    ("[[xid]]\ncode = 31\nfatal = true\n[[xid]]\ncode = true", "[[xid]] number 2: code is True; write a whole number"),
    ('[[xid]]\ncode = "109"', "[[xid]] number 1: code is '109'; write a whole number"),
    ("[[xid]]\ncode = 0\nfatal = true", "[[xid]] number 1: code is 0; write a whole number"),
    ("[[xid]]\ncode = 100000\nfatal = true", "[[xid]] number 1: code is 100000"),
    ("[[sxid]]\ncode = 9\nfatal = true\n[[sxid]]\ncode = 9\nfatal = true", "sxid 9: is there twice; leave one of them"),
    ("[xid]\ncode = 109", "xid is {'code': 109}; write it as tables, each headed [[xid]]"),
    ("xid = 109", "xid is 109; write it as tables"),
    ("xid = [109]", "xid is [109]; write it as tables"),
    ("[[xids]]\ncode = 109", "'xids' is not allowed; write [[xid]] or [[sxid]]"),
    ("[[recovery]]\nvalue = 1", "'recovery' is not allowed"),
    (f"x = {'9' * 5000}", "is not TOML"),
    (f"x = {'[' * 20_000}", "is not TOML"),
)


def written(folder: Path, text: str, name: str = "site.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def verdict(catalogue: FaultCatalogue, code: int, line: str = "") -> tuple[Severity, Action]:
    found = catalogue.classify(FaultKind.XID, code, line)
    return found.severity, found.action


def test_a_site_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    site = written(
        tmp_path,
        '[[xid]]\ncode = 109\nseverity = "info"\n[[xid]]\ncode = 31\nscope = ["hardware", "app"]\naction = "inspect"\n'
        "[[sxid]]\ncode = 12028\nfatal = true\n",
    )
    shipped, catalogue = read_catalogue(), read_catalogue([site])
    assert catalogue.xid(109).severity is Severity.INFO
    assert catalogue.xid(109).action is shipped.xid(109).action
    assert catalogue.xid(31).scope == (Scope.HARDWARE, Scope.APP)
    assert catalogue.xid(31).action is Action.INSPECT
    assert catalogue.xid(31).severity is Severity.WARNING
    assert catalogue.sxid(12028).severity is Severity.FATAL
    assert catalogue.xid(31).source == str(site)
    changed = {code for code in shipped.xids if catalogue.xid(code) != shipped.xid(code)}
    assert changed == {109, 31}
    assert {code for code in shipped.sxids if catalogue.sxid(code) != shipped.sxid(code)} == {12028}
    assert read_catalogue() is shipped


def test_a_number_that_the_catalogue_lacks_is_added(tmp_path: Path) -> None:
    site = written(tmp_path, '[[xid]]\ncode = 200\nmeaning = "seen here in May"\nfatal = true\naction = "reboot"\n')
    catalogue = read_catalogue([site])
    found = catalogue.classify(FaultKind.XID, 200)
    assert (found.severity, found.action, found.meaning) == (Severity.FATAL, Action.REBOOT, "seen here in May")
    assert found.known
    assert catalogue.fatal_xids() == (*read_catalogue().fatal_xids(), 200)


def test_fatal_is_short_for_a_severity(tmp_path: Path) -> None:
    text = "".join(
        f"[[xid]]\ncode = {code}\nfatal = {yes}\n" for code, yes in ((94, "true"), (74, "false"), (31, "false"))
    )
    catalogue = read_catalogue([written(tmp_path, text)])
    assert catalogue.xid(94).severity is Severity.FATAL
    assert catalogue.xid(74).severity is Severity.DEGRADED
    assert catalogue.xid(31).severity is Severity.WARNING
    assert set(catalogue.fatal_xids()) == set(read_catalogue().fatal_xids()) - {74} | {94}


def test_what_a_site_has_chosen_no_line_changes(tmp_path: Path) -> None:
    mild = read_catalogue([written(tmp_path, '[[xid]]\ncode = 149\nseverity = "warning"\n')])
    assert verdict(mild, 149, FATAL_149) == (Severity.WARNING, Action.CHECK_FABRIC)
    strict = read_catalogue([written(tmp_path, "[[xid]]\ncode = 149\nfatal = true\n")])
    assert verdict(strict, 149, FATAL_149.replace("Fatal", "Nonfatal")) == (Severity.FATAL, Action.DRAIN_RESET)
    acting = read_catalogue([written(tmp_path, '[[xid]]\ncode = 149\naction = "inspect"\n')])
    assert verdict(acting, 149, FATAL_149) == (Severity.FATAL, Action.INSPECT)
    assert verdict(acting, 149, FATAL_149.replace("Fatal", "Nonfatal")) == (Severity.WARNING, Action.INSPECT)


def test_the_later_file_wins_key_by_key(tmp_path: Path) -> None:
    first = written(tmp_path, '[[xid]]\ncode = 109\nseverity = "info"\naction = "watch"\n', "a.toml")
    second = written(tmp_path, '[[xid]]\ncode = 109\nseverity = "fatal"\n', "b.toml")
    assert verdict(read_catalogue([first, second]), 109) == (Severity.FATAL, Action.WATCH)
    assert verdict(read_catalogue([second, first]), 109) == (Severity.INFO, Action.WATCH)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read_catalogue([written(tmp_path, "")]) == read_catalogue()


changes = st.dictionaries(
    st.integers(1, 99_999),
    st.fixed_dictionaries(
        {"severity": st.sampled_from(Severity)},
        optional={"action": st.sampled_from(Action), "scope": st.sampled_from(Scope), "meaning": st.just("ours")},
    ),
    max_size=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes, st.sampled_from(["xid", "sxid"]))
def test_the_same_file_twice_is_that_file_once(tmp_path: Path, said: dict[int, dict[str, str]], kind: str) -> None:
    lines = [
        f"[[{kind}]]\ncode = {code}\n" + "".join(f'{key} = "{value}"\n' for key, value in keys.items())
        for code, keys in said.items()
    ]
    file = written(tmp_path, "".join(lines))
    once = read_catalogue([file])
    assert read_catalogue([file, file]) == once
    for code, keys in said.items():
        assert (once.xid(code) if kind == "xid" else once.sxid(code)).severity == keys["severity"]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_said_with_file_place_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_catalogue([file])
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < len(str(file)) + 250


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"site\.toml: cannot be read \(No such file or directory\)"):
        read_catalogue([tmp_path / "site.toml"])


def test_bytes_that_are_no_text_are_said_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_bytes(b"# \xff\xfe")
    with pytest.raises(UsageError, match=r"site\.toml: is not UTF-8 at byte 2"):
        read_catalogue([tmp_path / "site.toml"])


@pytest.mark.timeout(10)
def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    with file.open("wb") as opened:
        opened.truncate(1 << 30)
    with pytest.raises(UsageError, match=r"site\.toml: is larger than 1048576 bytes"):
        read_catalogue([file])


@pytest.mark.timeout(10)
def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "site.toml")
    for path in (tmp_path / "site.toml", tmp_path):
        with pytest.raises(UsageError, match="is no ordinary file"):
            read_catalogue([path])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200).map(lambda rest: b"[[xid]]\ncode = 31\n" + rest) | st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused_with_the_file_s_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes(content)
    try:
        catalogue = read_catalogue([file])
    except UsageError as error:
        assert str(error).startswith(f"{file}: ")
    else:
        assert catalogue.xids.keys() >= read_catalogue().xids.keys()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("xid.toml", "[[xid]]\ncode = 79\n", "[[xid]]\ncode = 78\n", "xid 78: is there twice"),
        (
            "xid.toml",
            'line = "recovery_action"',
            'line = "horoscope"',
            "xid 154: line is 'horoscope'; write one of nothing",
        ),
        ("xid.toml", "follows = [48]", "follows = [true]", "xid 63: follows is [True]; write a list of numbers"),
        (
            "xid.toml",
            'texts = ["Drain P2P"]',
            "texts = []",
            "[[recovery]] number 4: texts is []; write a list of texts",
        ),
        ("sxid.toml", 'group = "host"', 'group = "guest"', "sxid 10001: group is 'guest'; write one of always_fatal"),
        ("sxid.toml", 'example = "', 'exemple = "', "'exemple' is no key"),
        ("clock_events.toml", '"limit_lowered"', '"raining"', "number 4: when is 'raining'; write limit_lowered"),
        ("clock_events.toml", "bit = 0x4\n", "", "[[clock_event]] number 4: bit is missing; write a whole number"),
    ],
)
def test_a_shipped_file_that_is_damaged_is_refused(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    for file in SHIPPED.iterdir():
        text = file.read_text()
        assert file.name != name or old in text
        (tmp_path / file.name).write_text(text.replace(old, new, 1) if file.name == name else text)
    with pytest.raises(UsageError) as caught:
        read_shipped(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert message in str(caught.value)
