"""Versions and systems as people write them, and what a version that is told in part leaves open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetward.model.software import NvidiaModules, OperatingSystem, Software, Version

numbers = st.lists(st.integers(0, 999_999_999), min_size=1, max_size=6).map(tuple)


def version(text: str) -> Version:
    return Version.parse(text)


def of(parts: tuple[int, ...]) -> Version:
    return Version.parse(".".join(map(str, parts)))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("6.12", (6, 12)),
        ("580.95.05", (580, 95, 5)),
        ("v1.34.1", (1, 34, 1)),
        ("1.34.1+k3s1", (1, 34, 1)),
        ("6.12.38+deb13-amd64", (6, 12, 38)),
        ("5.14.0-427.13.1.el9_4.x86_64", (5, 14, 0)),
        ("6.8.0-1021-aws", (6, 8, 0)),
        ("24.05.0rc1", (24, 5, 0)),
        ("25.11.0-0rc1", (25, 11, 0)),
        ("13", (13,)),
    ],
)
def test_versions_are_read_as_vendors_write_them(text: str, parts: tuple[int, ...]) -> None:
    assert version(text).numbers == parts
    assert str(version(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "6.x",
        "six",
        "6..1",
        ".6",
        "6.",
        "580.95.O5",
        "6.12 ",
        "6.12\n",
        "-1",
        "1e3",
        "\u0666.\u0661",
        "9" * 5000,
        "1." * 9 + "1",
        "6.12-",
        "6.12-a b",
        "latest",
        "6.12;reboot",
    ],
)
def test_what_is_no_version_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(ValueError, match="is no version; write one such as") as refused:
        version(text)
    assert len(str(refused.value)) < 150
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("fact", "bound", "answer"),
    [
        ("580.95.05", "580.65.06", True),
        ("580.65.06", "580.65.06", True),
        ("580.65.05", "580.65.06", False),
        ("6.10", "6.9", True),
        ("6.12.3", "6.12", True),
        ("580", "580.65.06", None),
        ("580", "580.0.0", True),
        ("579", "580.65.06", False),
        ("581", "580.65.06", True),
    ],
)
def test_at_least(fact: str, bound: str, answer: bool | None) -> None:
    assert version(fact).at_least(version(bound)) is answer
    assert version(fact).below(version(bound)) is (None if answer is None else not answer)


@pytest.mark.parametrize(
    ("fact", "bound", "answer"),
    [
        ("470.256.02", "470", True),
        ("470", "470", True),
        ("471", "470", False),
        ("570.153.02", "570.153.02", True),
        ("570.172.08", "570.153.02", False),
        ("570.86", "570.153.02", True),
        ("570", "570.153.02", None),
    ],
)
def test_at_most_takes_every_release_of_what_it_names(fact: str, bound: str, answer: bool | None) -> None:
    assert version(fact).at_most(version(bound)) is answer


@pytest.mark.parametrize(
    ("fact", "other", "answer"),
    [("6.12.38", "6.12", True), ("6.12", "6.12.38", None), ("6.12", "6.12", True), ("6.1.2", "6.12", False)],
)
def test_a_release_is_of_its_branch(fact: str, other: str, answer: bool | None) -> None:
    assert version(fact).is_of(version(other)) is answer


@given(numbers, numbers)
def test_whole_versions_compare_as_their_numbers_do(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    longest = max(len(one), len(other))
    padded = tuple(parts + (0,) * (longest - len(parts)) for parts in (one, other))
    assert of(padded[0]).at_least(of(padded[1])) is (padded[0] >= padded[1])
    assert of(padded[0]).at_most(of(padded[1])) is (padded[0] <= padded[1])


@given(numbers, numbers, numbers)
def test_saying_more_of_a_version_never_turns_an_answer_round(
    fact: tuple[int, ...], bound: tuple[int, ...], more: tuple[int, ...]
) -> None:
    told, longer, limit = of(fact), of((fact + more)[:8]), of(bound)
    for question in (Version.at_least, Version.below, Version.at_most, Version.is_of):
        known = question(told, limit)
        assert known is None or question(longer, limit) is known


@given(numbers, numbers, numbers)
def test_order_is_total_and_transitive(one: tuple[int, ...], two: tuple[int, ...], three: tuple[int, ...]) -> None:
    first, second, third = sorted((of(one), of(two), of(three)))
    assert first <= second <= third
    assert first <= third
    assert (first == third) is (first.numbers == third.numbers)


@given(st.text(max_size=100) | st.from_regex(r"v?[0-9.]{1,40}[-+~a-z0-9.]{0,40}", fullmatch=True))
def test_any_text_is_a_version_or_refused(text: str) -> None:
    try:
        assert str(version(text)) == text
    except ValueError as error:
        assert "is no version" in str(error)


def test_systems_have_a_name_and_a_version() -> None:
    rocky = OperatingSystem.parse("rocky-9.4")
    assert (rocky.name, rocky.version.numbers, str(rocky)) == ("rocky", (9, 4), "rocky-9.4")
    assert OperatingSystem.parse("opensuse-leap-15.6").name == "opensuse-leap"
    assert rocky.is_of(OperatingSystem.parse("rocky-9")) is True
    assert OperatingSystem.parse("rocky-9").is_of(rocky) is None
    assert OperatingSystem.parse("debian-9").is_of(OperatingSystem.parse("rocky-9")) is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("debian", "'debian' is no system; write name and version, such as debian-13"),
        ("Debian-13", "is no system; write name and version"),
        ("ubuntu-24.04 LTS", "is no system"),
        ("debain-13", "'debain-13' is no system; did you mean debian-13?"),
        ("ubunto-24.04", "did you mean ubuntu-24.04?"),
    ],
)
def test_what_is_no_system_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:
        OperatingSystem.parse(text)
    assert words in str(refused.value)


def test_a_system_that_is_not_heard_of_is_taken() -> None:
    assert OperatingSystem.parse("nixos-25.11").name == "nixos"


def test_only_what_was_said_is_declared() -> None:
    assert Software().declared() == {}
    said = Software(kernel=version("6.12"), nvidia_modules=NvidiaModules.OPEN)
    assert said.declared() == {"kernel": version("6.12"), "nvidia_modules": "open"}
