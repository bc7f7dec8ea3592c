"""The shipped rules of compatibility, a site's word on them, and what is wrong in files that cannot be taken."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetward.model.compatibility_files import SHIPPED, incompatibilities, read_rules, read_shipped
from fleetward.model.compatibility_schema import CompatibilityDeclaration
from fleetward.model.compatibility_table import Rules, SiteRules
from fleetward.model.errors import UsageError
from fleetward.model.fleet import Fleet, Node
from fleetward.model.software import Software, Version

DRIVER, KERNEL = Version.parse("550.163.01"), Version.parse("6.17")
RULE = "kernel-driver-550"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def fleet(site: SiteRules) -> Fleet:
    said = Software(kernel=KERNEL, nvidia_driver=DRIVER)
    node = Node("n1", "n1", False, frozenset({"all"}), software=said)
    return Fleet("c", {"n1": node}, {"all": ("n1",)}, (), (), (), {}, {}, site)


def site(**written: object) -> SiteRules:
    return CompatibilityDeclaration.model_validate(written).site_rules()


def found(rules: SiteRules) -> dict[str, str]:
    return {one.rule: one.source for one in incompatibilities(fleet(rules))}


def test_every_row_has_a_source_that_names_a_document_and_no_address() -> None:
    rules = read_shipped()
    for one in (*rules.rules, *rules.skews):
        assert one.source
        assert "http" not in one.source
        assert one.because
    assert len(rules.rules) > 40


def test_every_source_of_a_file_is_used_in_it() -> None:
    for file in SHIPPED.glob("*.yml"):
        content = yaml.safe_load(file.read_text())
        rows = [*content.get("rules", {}).values(), *content.get("skews", {}).values()]
        used = {row["source"] for row in rows}
        assert content["sources"].keys() - used - {"operator"} == set()  # which the models are from


def test_without_a_word_of_the_site_the_shipped_rules_hold() -> None:
    assert read_rules() is read_rules(SiteRules()) is read_shipped()
    assert RULE in found(SiteRules())


def test_a_site_accepts_a_rule_by_saying_why() -> None:
    assert found(site(rules={RULE: {"accepted": "our own packages are patched"}})) == {}


def test_a_site_changes_what_a_rule_asks_and_then_is_its_source() -> None:
    changed = site(rules={RULE: {"needs": {"kernel": "<6.18"}}})
    assert found(changed) == {}
    stricter = site(rules={RULE: {"needs": {"kernel": "<6.1"}}})
    assert found(stricter) == {RULE: "fleet_compatibility"}
    worded = site(rules={RULE: {"remedy": "ask the kernel team"}})
    assert found(worded)[RULE].startswith("Gentoo")


def test_a_site_adds_a_rule_of_its_own() -> None:
    own = {"when": {"kernel": ">=6.17"}, "needs": {"nvidia_driver": ">=580"}, "because": "we saw it hang"}
    assert found(site(rules={"ours": own}))["ours"] == "fleet_compatibility"
    assert found(site(rules={"ours": own | {"source": "ticket 12"}}))["ours"] == "ticket 12"


def test_a_site_accepts_a_skew_and_can_do_no_more() -> None:
    rules = read_rules(site(rules={"slurmd-slurmctld": {"accepted": "this week"}}))
    assert {skew.id: skew.accepted for skew in rules.skews}["slurmd-slurmctld"] == "this week"
    with pytest.raises(UsageError, match="slurmd-slurmctld: compares hosts with each other, and can only be `accepted"):
        read_rules(site(rules={"slurmd-slurmctld": {"remedy": "x"}}))


def test_a_site_names_models_and_moves_them() -> None:
    rules = read_rules(site(generations={"rubin": ["r100"], "ada": ["h20"]}))
    assert rules.known_model("nvidia_r100") == ("r100", "rubin")
    assert rules.known_model("h20") == ("h20", "ada")
    assert rules.known_model("h100") == ("h100", "hopper")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"rules": {"modules-blakwell": {"accepted": "x"}}}, "did you mean modules-blackwell?"),
        (
            {"rules": {"ours": {"because": "x"}}},
            "rules.ours: is none of the shipped rules; a rule of your own says when",
        ),
        ({"rules": {RULE: {}}}, f"rules.{RULE}: changes nothing; say what is different"),
        (
            {"generations": {"one": ["m1"], "two": ["m1"]}},
            "generations: m1 is of one and again of two; leave one of them",
        ),
    ],
)
def test_a_word_of_the_site_that_means_nothing_is_refused(written: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_rules(site(**written))
    assert words in str(refused.value)
    assert str(refused.value).startswith("fleet_compatibility.")


GOOD = """
sources: {doc: a document}
generations: {hopper: [h100]}
rules:
  one: {when: {cuda: "13"}, needs: {nvidia_driver: ">=580"}, because: of that, source: doc}
skews:
  two:
    {fact: slurm, of: a, against: b, minors_behind: 1, because: of that, remedy: do this, source: doc}
"""


def written(folder: Path, text: str) -> Rules:
    (folder / "rules.yml").write_text(text)
    return read_shipped(folder)


def test_the_file_that_those_spoil_is_good(tmp_path: Path) -> None:
    rules = written(tmp_path, GOOD)
    assert ([rule.id for rule in rules.rules], [skew.id for skew in rules.skews]) == (["one"], ["two"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rules:", "rules: [", "is not valid YAML"),
        ("rules:", "rulez:", "rulez: is not a key here"),
        ('cuda: "13"', "cuda: 13.0", "rules.one.when: cuda: YAML reads 13.0 as something else than text"),
        ('cuda: "13"', 'cuba: "13"', "rules.one.when: 'cuba' is no fact; there are: os, kernel"),
        ('{cuda: "13"}', "{}", "rules.one.when: {} names no fact"),
        ('{cuda: "13"}', "cuda", "rules.one.when: 'cuda' names no fact"),
        (">=580", "> 580", "rules.one.needs: nvidia_driver: '>' is no version"),
        ("needs:", "need:", "rules.one.need: is not a key here; did you mean needs?"),
        ("because: of that, source: doc}", "source: doc}", "rules.one.because: is missing; add it"),
        ("because: of that, source: doc}", "because: of that}", "rules.one.source: is missing; add it"),
        (
            "source: doc}\nskews",
            "source: dock}\nskews",
            "rules.one.source: 'dock' is none of the file's sources; did you",
        ),
        ("because: of that, source", 'because: "a\\nb", source', "rules.one.because: 'a\\nb' does not match"),
        ("  one:", "  One:", "rules.One: 'One' does not match"),
        ("  two:", "  one:", "one is in rules.yml too; rename one of them"),
        ("minors_behind: 1", "minors_behind: true", "skews.two.minors_behind: input should be a valid integer"),
        ("minors_behind: 1, ", "", "skews.two: needs minors_behind or compatible, and not both"),
        ("minors_behind: 1", 'compatible: {"25": ["24.05"]}', "'25' is no major release; write two numbers"),
        ("minors_behind: 1", "compatible: {25.11: []}", "YAML reads 25.11 as something else than text"),
        ("fact: slurm", "fact: os", "skews.two.fact: 'os' is no fact with a version; there are: kernel"),
        ("fact: slurm", "fact: [slurm]", "is no fact with a version"),
        ("of: a,", "of: 'a b',", "skews.two.of: 'a b' does not match"),
        ("[h100]", "[h100, h100]", "generations: h100 is of hopper and again of hopper"),
        ("[h100]", "[]", "generations.hopper: "),
        ("[h100]", "h100", "generations.hopper: input should be a valid tuple, not 'h100'"),
        ("sources: {doc: a document}", "sources: {doc: a document, doc: b}", "'doc' is there twice"),
        (GOOD, "", "is 'NoneType'; write sources, rules and skews"),
        (GOOD, "- 1", "is 'list'; write sources"),
        (GOOD, "rules: 1", "rules: input should be a valid dictionary, not 1"),
        (GOOD, "a: " + "[" * 5000, "is not valid YAML"),
        (GOOD, LAUGHS, "is not a key here"),
        (GOOD, LAUGHS.replace("a: &a", "sources: &a", 1) + "rules: *i", "sources: input should be a valid dictionary"),
        (GOOD, GOOD + LAUGHS.replace("a: &a", "x: &a", 1) + "generations: {a: *h}", "is there twice"),
    ],
)
@pytest.mark.timeout(20)
def test_a_damaged_file_is_refused_with_file_and_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as refused:
        written(tmp_path, GOOD.replace(old, new, 1))
    assert words in str(refused.value)
    assert "rules.yml" in str(refused.value)
    assert len(str(refused.value)) < len(str(tmp_path)) + 600


@pytest.mark.timeout(20)
def test_values_that_grow_when_they_are_written_out_are_not_written_out(tmp_path: Path) -> None:
    text = GOOD.replace("{doc: a document}", "{doc: a document, laughs: *i}")
    anchors = "".join(f"  {line}\n" for line in LAUGHS.splitlines())
    with pytest.raises(UsageError) as refused:
        written(tmp_path, f"generations:\n{anchors}{text.replace('generations: {hopper: [h100]}', '')}")
    assert len(str(refused.value)) < len(str(tmp_path)) + 4000


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no rules of compatibility; install fleetward again"):
        read_shipped(tmp_path)


@pytest.mark.timeout(20)
def test_what_is_no_ordinary_file_is_not_waited_for_or_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    with pytest.raises(UsageError, match=r"pipe\.yml: is no ordinary file"):
        read_shipped(tmp_path)
    (tmp_path / "pipe.yml").unlink()
    with (tmp_path / "big.yml").open("wb") as opened:
        opened.truncate(1 << 30)
    with pytest.raises(UsageError, match=r"big\.yml: is no ordinary file of at most 1048576 bytes"):
        read_shipped(tmp_path)
    (tmp_path / "big.yml").unlink()
    (tmp_path / "gone.yml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"gone\.yml: cannot be read \(No such file or directory\)"):
        read_shipped(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: GOOD.encode() + rest))
def test_any_bytes_are_taken_or_refused_with_the_file_s_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rules.yml").write_bytes(content)
    read_shipped.cache_clear()
    try:
        read_shipped(tmp_path)
    except UsageError as error:
        assert "rules.yml" in str(error)
    finally:
        read_shipped.cache_clear()
