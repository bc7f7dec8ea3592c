"""What lint says about the arguments of every kind of action, and that the registry knows them all."""

from pathlib import Path

import pytest
from played_slurm import PlayedWorld

from fleetward.operations.node_runner import AnsibleNodeRunner
from fleetward.runbooks.actions.registry import World, all_actions, kinds
from fleetward.runbooks.prometheus import RecordedPrometheus

NODE = "{{ node }}"

GOOD: list[tuple[str, dict[str, object]]] = [
    ("slurm.drain", {"": NODE, "why": "GPU {{ gpu }} off the bus"}),
    ("slurm.drain", {"": "gpu001", "class": "maintenance"}),
    ("slurm.resume", {"": NODE}),
    ("slurm.requeue", {"": NODE, "failed_within": "10m"}),
    ("slurm.wait_for_jobs", {"": NODE, "within": "{{ patience }}", "late": "go_on"}),
    ("slurm.wait_for_jobs", {"": "gpu001"}),
    ("node.reboot", {"": NODE, "within": "45m"}),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["nvidia_driver", "a-b", "_x", "{{ part }}"], "within": "2h"}),
    ("node.run", {"": ["nvidia-smi", "-i", "{{ gpu }}"], "on": NODE}),
    ("node.run", {"": ["true"], "on": NODE, "expect": {"exit": 1, "lacks": "x"}, "within": "2m", "changes": True}),
    ("prometheus.expect", {"": "min(gpu_up{node=$node}) == 1", "for": "30s", "within": "1h"}),
    ("approve", {"": "Is the GPU replaced?"}),
    ("wait", {"": "30s"}),
]

BAD: list[tuple[str, dict[str, object], str]] = [
    ("slurm.drain", {"": "gpu001,gpu002"}, "slurm.drain is to be the name of one node"),
    ("slurm.drain", {"": "{{ node }} {{ gpu }}"}, "name of one node"),
    ("slurm.drain", {"": None}, "name of one node"),
    ("slurm.drain", {"": "all"}, "name of one node"),
    ("slurm.drain", {"": NODE, "why": ""}, "why is to be a text"),
    ("slurm.drain", {"": NODE, "class": "broken"}, "class is to be one of node_problem, user_problem, maintenance"),
    ("slurm.drain", {"": NODE, "because": "x"}, "because is no option of slurm.drain; it has class, why"),
    ("slurm.resume", {"": NODE, "why": "x"}, "why is no option of slurm.resume; it has none"),
    ("slurm.requeue", {"": NODE, "failed_within": "soon"}, "failed_within is to be a length of time"),
    ("slurm.wait_for_jobs", {"": "gpu[001-008]"}, "slurm.wait_for_jobs is to be the name of one node"),
    ("slurm.wait_for_jobs", {"": NODE, "within": "a day"}, "within is to be a length of time"),
    ("slurm.wait_for_jobs", {"": NODE, "within": "{{ a }}{{ b }}"}, "within is to be a length of time"),
    ("slurm.wait_for_jobs", {"": NODE, "late": "kill"}, "late is to be one of fail, go_on, not 'kill'"),
    ("node.reboot", {"": "all"}, "node.reboot is to be the name of one node"),
    ("node.reboot", {"": NODE, "force": True}, "force is no option of node.reboot; it has within"),
    ("ansible.play", {"": "site"}, "ansible.play needs on"),
    ("ansible.play", {"": "../../tmp/mine", "on": NODE}, "ansible.play is to be one of site, not '../../tmp/mine'"),
    ("ansible.play", {"": ["site"], "on": NODE}, "ansible.play is to be one of site, not"),
    ("ansible.play", {"": "site", "on": "gpu001,head"}, "on is to be the name of one node"),
    ("ansible.play", {"": "site", "on": NODE, "check": True}, "check is no option of ansible.play"),
    ("ansible.play", {"": "site", "on": NODE, "tags": "munge"}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": []}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["munge", "--become-user=x"]}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["-v"]}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["a,b"]}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["a b"]}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["a\n"]}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": ["{{ a }},{{ b }}"]}, "tags is to be a list of words"),
    ("ansible.play", {"": "site", "on": NODE, "tags": [1]}, "tags is to be a list of words"),
    ("node.run", {"": ["true"]}, "node.run needs on"),
    ("node.run", {"": "rm -rf /", "on": NODE}, "node.run is to be a list of arguments"),
    ("node.run", {"": [], "on": NODE}, "list of arguments"),
    ("node.run", {"": ["sleep", 3], "on": NODE}, "list of arguments"),
    ("node.run", {"": ["a\0b"], "on": NODE}, "list of arguments"),
    ("node.run", {"": [""], "on": NODE}, "begins with an empty text"),
    ("node.run", {"": ["true"], "on": NODE, "expect": {"has": "x"}}, "expect is to have some of"),
    ("node.run", {"": ["true"], "on": NODE, "expect": {"contains": 3}}, "expect contains is to be a text"),
    ("node.run", {"": ["true"], "on": NODE, "expect": {"exit": "0"}}, "expect exit is to be a number"),
    ("node.run", {"": ["true"], "on": NODE, "expect": {"exit": True}}, "expect exit is to be a number"),
    ("node.run", {"": ["true"], "on": NODE, "changes": "yes"}, "changes is to be true or false"),
    ("prometheus.expect", {"": ""}, "prometheus.expect is to be a text"),
    ("prometheus.expect", {"": "up", "for": 30}, "for is to be a length of time"),
    ("approve", {"": ["x"]}, "approve is to be a text"),
    ("wait", {"": "0s"}, "wait is to be a length of time"),
]


@pytest.mark.parametrize(("kind", "arguments"), GOOD)
def test_what_is_right_is_not_complained_about(kind: str, arguments: dict[str, object]) -> None:
    assert kinds()[kind].lint(arguments) == []


@pytest.mark.parametrize(("kind", "arguments", "said"), BAD)
def test_what_is_wrong_is_said_once(kind: str, arguments: dict[str, object], said: str) -> None:
    found = kinds()[kind].lint(arguments)
    assert len(found) == 1
    assert said in found[0]


def test_every_kind_has_its_action(world: PlayedWorld) -> None:
    reached = AnsibleNodeRunner(Path("hosts.yml"))
    actions = all_actions(World(world.slurm, world.keeper, RecordedPrometheus({}), reached, world.clock))
    assert actions.keys() == kinds().keys()
    for name, action in actions.items():
        assert (action.kind, action.changes) == (name, kinds()[name].changes)
        assert action.lint({"": 7}) == kinds()[name].lint({"": 7}) != []
