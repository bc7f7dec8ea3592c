"""What lint finds, each with its line; and that it is quiet about a page that is well."""

from pathlib import Path

import pytest

from fleetward.runbooks.actions.registry import kinds
from fleetward.runbooks.lint import alerts_of_rules, lint, lint_alerts
from fleetward.runbooks.page import parse

WELL = """---
id: p
title: P
alerts: [A]
severity: warning
params: {node: {from: labels.node}}
blast: node
mode: observe
---
## Meaning
## Impact
About {{ node }}.
## Diagnosis
```step look
node.run: [uptime]
on: "{{ node }}"
within: 10s
optional: true
```
## Mitigation
```step drain
slurm.drain: "{{ node }}"
undo: slurm.resume
```
## Verification
```step back
prometheus.expect: up{node=$node} == 1
for: 30s
```
## Escalation
## History
"""


def findings(text: str) -> list[str]:
    return [str(finding) for finding in lint(parse(text, "p.md"), kinds())]


def test_a_page_that_is_well_has_none() -> None:
    assert findings(WELL) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("slurm.drain", "slurm.nuke", "p.md:22: step drain: slurm.nuke is no action; there are ansible.play, approve"),
        ("slurm.drain: ", "reboot: ", "p.md:22: step drain: reboot is no action"),
        ("undo: slurm.resume", "undo: pray", "p.md:23: step drain: undo: 'pray' is no action"),
        ("undo: slurm.resume", "undo: [a]", "p.md:23: step drain: undo: ['a'] is no action"),
        ("undo: slurm.resume", "optional: true", "p.md:23: step drain: slurm.drain changes something here, and"),
        ("within: 10s", "changes: true", "p.md:18: step look: node.run changes something here, and cannot be optional"),
        ("node.run: [uptime]", "ansible.play: site", "p.md:18: step look: ansible.play changes something here, and"),
        ("optional: true", "optional: 1", "p.md:18: step look: optional is to be true or false"),
        ("undo: slurm.resume", "whyy: x", "p.md:23: step drain: whyy is no option of slurm.drain"),
        ('on: "{{ node }}"\n', "", "p.md:15: step look: node.run needs on"),
        ("within: 10s", "within: 10 minutes", "p.md:17: step look: within is to be a length of time"),
        ("for: 30s", "for: -1s", "p.md:28: step back: for is to be a length of time"),
        ('on: "{{ node }}"', 'on: "{{ host }}"', "p.md:16: host is no parameter of this page"),
        ("About {{ node }}", "About {{ host }}", "p.md:12: host is no parameter of this page"),
        ("$node", "$host", "p.md:27: host is no parameter of this page"),
        ("$node", '"$node"', 'p.md:27: step back: "$node" is not filled within quotes'),
        ("$node", '"{{ node }}"', "p.md:27: step back: an expression takes $name"),
        ('"{{ node }}"\nundo', '"{{ node.name }}"\nundo', "p.md:22: step drain: {{ node.name }} is no placeholder"),
        ('"{{ node }}"\nundo', '"{% node %}"\nundo', "p.md:22: step drain: {% is no placeholder"),
        ("labels.node}}", "labels.node}, rack: {}}", "p.md:6: parameter rack is never used"),
        ("step drain", "step look", "p.md:21: step look is there twice"),
        ("## Impact\n", "", "p.md: section Impact is missing"),
        ("## Impact", "## Meaning", "p.md:11: section Meaning is there twice"),
        ("## Escalation\n## History", "## History\n## Escalation", "p.md:31: section Escalation comes before History"),
    ],
)
def test_each_fault_is_found_with_its_line(old: str, new: str, said: str) -> None:
    assert old in WELL
    found = findings(WELL.replace(old, new, 1))
    assert any(one.startswith(said) for one in found), found


def test_a_page_that_no_rule_leads_to_and_a_rule_without_a_page() -> None:
    page = parse(WELL, "p.md")
    assert lint_alerts({"p": page}, {"A"}) == []
    assert [str(one) for one in lint_alerts({"p": page}, {"B"})] == [
        "B: this rule has no page; name it under alerts of one",
        "p.md:4: no rule is named A; add the rule, or remove it here",
    ]


def test_an_alert_on_two_pages() -> None:
    pages = {"p": parse(WELL, "p.md"), "q": parse(WELL.replace("id: p", "id: q"), "q.md")}
    assert [str(one) for one in lint_alerts(pages, {"A"})] == ["q.md:4: alert A has a page already: p; keep one"]


def test_alerts_are_read_from_rule_files(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "groups:\n- name: g\n  rules:\n  - {alert: One, expr: up}\n  - {record: x, expr: up}\n"
    )
    (tmp_path / "b.yml").write_text("groups: [{name: h, rules: [{alert: Two, expr: up}]}]\n")
    assert alerts_of_rules(tmp_path) == {"One", "Two"}
