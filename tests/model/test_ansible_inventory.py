"""The reader against Ansible itself, on the inventories that come with us and on tricky small ones."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import fleetward
from fleetward.model.ansible_inventory import AnsibleInventory, read_inventory

INVENTORIES = Path(fleetward.__file__).parent / "inventories"
Oracle = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    program = Path(__file__).with_name("ansible_oracle.py")
    with subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(path: Path) -> dict[str, Any]:
            stdin.write(f"{path}\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
            return answer

        yield ask
        stdin.close()


def read(path: Path) -> AnsibleInventory:
    problems: list[str] = []
    inventory = read_inventory(path, problems.append)
    assert problems == []
    return inventory


def problems_of(path: Path) -> list[str]:
    problems: list[str] = []
    read_inventory(path, problems.append)
    return problems


def as_ansible_says(inventory: AnsibleInventory) -> dict[str, Any]:
    return {name: dict(host.variables) for name, host in inventory.hosts.items()}


@pytest.mark.parametrize("name", ["lab", "example"])
def test_our_inventories_read_as_ansible_inventory_lists_them(name: str) -> None:
    program = Path(sys.executable).with_name("ansible-inventory")
    listed = subprocess.run(
        [program, "-i", INVENTORIES / name, "--list"], check=True, capture_output=True, text=True, timeout=120
    )
    expected = json.loads(listed.stdout)["_meta"]["hostvars"]
    for variables in expected.values():
        variables.pop("ansible_local", None)  # Ansible's own, for facts
    assert as_ansible_says(read(INVENTORIES / name)) == expected


@pytest.mark.parametrize("name", ["lab", "example"])
def test_groups_have_ansibles_members_in_its_order(name: str, oracle: Oracle) -> None:
    groups = oracle((INVENTORIES / name).resolve())["groups"]
    inventory = read(INVENTORIES / name)
    assert {group: set(names) for group, names in inventory.groups.items()} == {
        group: set(names) for group, names in groups.items()
    }
    assert list(inventory.groups["slurm_controller"]) == groups["slurm_controller"]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


TRICKY = {
    "children win over parents": {
        "hosts.yml": "parent: {vars: {v: parent}, children: {child: {vars: {v: child}, hosts: {h: }}}}"
    },
    "the deeper group wins, whichever path is longest": {
        "hosts.yml": "a: {children: {b: {children: {c: {vars: {v: c}, hosts: {h: }}}}}, vars: {v: a}}\n"
        "z: {vars: {v: z}, hosts: {h: }}\n"
    },
    "names decide among groups of one depth": {
        "hosts.yml": "b: {vars: {v: b}, hosts: {h: }}\na: {vars: {v: a}, hosts: {h: }}\n"
    },
    "priority decides before names": {
        "hosts.yml": "a: {vars: {v: a, ansible_group_priority: 10}, hosts: {h: }}\nb: {vars: {v: b}, hosts: {h: }}\n"
    },
    "group_vars/all wins over vars of a group in the file": {
        "hosts.yml": "a: {vars: {v: file}, hosts: {h: }}",
        "group_vars/all.yml": "v: all",
    },
    "group_vars of a group win over group_vars/all": {
        "hosts.yml": "a: {hosts: {h: }}",
        "group_vars/all.yml": "v: all",
        "group_vars/a.yml": "v: a",
    },
    "variables of a host win over group_vars, and host_vars over both": {
        "hosts.yml": "a: {hosts: {h: {v: file, w: file}}}",
        "group_vars/a.yml": "{v: group, w: group}",
        "host_vars/h.yml": "w: host",
    },
    "a folder of variables hides the file of the same name": {
        "hosts.yml": "a: {hosts: {h: }}",
        "group_vars/all/one.yml": "v: folder",
        "group_vars/all.yml": "v: file",
    },
    "files of a folder are read in order, sub-folders among them": {
        "hosts.yml": "a: {hosts: {h: }}",
        "group_vars/all/b.yml": "v: b",
        "group_vars/all/a/z.yml": "{v: az, w: az}",
        "group_vars/all/c.json": '{"x": "json"}',
        "group_vars/all/.hidden.yml": "x: hidden",
        "group_vars/all/README": "y: read too",
        "group_vars/all/d.yml~": "x: backup",
    },
    "several files add up, the later one winning": {
        "a.yml": "g: {vars: {v: a, w: a}, hosts: {h: {x: a}}}",
        "b.yml": "g: {vars: {v: b}, hosts: {h: {x: b}, i: }}",
        "notes.txt": "not read",
    },
    "a map is replaced, not merged": {
        "hosts.yml": "a: {vars: {m: {x: 1, y: 1}}, hosts: {h: {m: {x: 2}}}}",
    },
    "hosts of no group are ungrouped": {"hosts.yml": "all: {hosts: {h: }, children: {a: {hosts: {i: }}}}"},
    "hosts in ungrouped and a group": {
        "hosts.yml": "ungrouped: {hosts: {h: }, vars: {v: ungrouped}}\na: {hosts: {h: , i: }}"
    },
    "ranges with variables": {"hosts.yml": "a: {hosts: {'n[01:03]': {v: 1}, 'm[a:c:2]': }}\nb: {hosts: {n02: {w: 2}}}"},
    "a host as text instead of a map": {"hosts.yml": "a: {hosts: h}\nb: {children: a, vars: {v: b}}"},
    "numbers, dates and octals of YAML 1.1": {
        "hosts.yml": "a: {hosts: {h: {v: 010, w: 1_000, x: yes, y: 1:30, z: ~}}}"
    },
    "anchors and merges": {"hosts.yml": "a: {hosts: {h: &x {v: 1, w: 2}, i: {<<: *x, w: 3}}}"},
    "priorities in group_vars do not count": {
        "hosts.yml": "a: {vars: {v: a}, hosts: {h: }}\nb: {vars: {v: b}, hosts: {h: }}\n",
        "group_vars/a.yml": "ansible_group_priority: 20",
    },
}


@pytest.mark.parametrize("files", TRICKY.values(), ids=TRICKY.keys())
def test_tricky_inventories_read_as_ansible_reads_them(files: dict[str, str], tmp_path: Path, oracle: Oracle) -> None:
    expected = oracle(write(tmp_path, files))
    inventory = read(tmp_path)
    hosts = as_ansible_says(inventory)
    for variables in hosts.values():
        variables.pop("ansible_group_priority", None)  # the oracle leaves out everything of this prefix
    assert hosts == expected["hosts"]
    assert {group: set(names) for group, names in inventory.groups.items()} == {
        group: set(names) for group, names in expected["groups"].items()
    }


GROUPS = [f"g{index}" for index in range(6)]
HOSTS = [f"h{index}" for index in range(4)]
VARIABLES = st.dictionaries(st.sampled_from(["u", "v", "w"]), st.integers(0, 99), max_size=3)
PRIORITIES = st.none() | st.integers(-3, 12)


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, str]:
    """Draw groups in any order of files and nesting, without loops: a group only has later ones below it."""
    files: dict[str, str] = {}
    for file in draw(st.sampled_from([["hosts.yml"], ["a.yml", "b.yml"]])):
        tree: dict[str, Any] = {}
        for index in draw(st.permutations(range(len(GROUPS)))):
            variables: dict[str, Any] = dict(draw(VARIABLES))
            priority = draw(PRIORITIES)
            if priority is not None:
                variables["ansible_group_priority"] = priority
            tree[GROUPS[index]] = {
                "vars": variables,
                "hosts": {host: draw(VARIABLES) for host in draw(st.sets(st.sampled_from(HOSTS)))},
                "children": dict.fromkeys(
                    draw(st.sets(st.sampled_from(GROUPS[index + 1 :]))) if GROUPS[index + 1 :] else set()
                ),
            }
        files[file] = yaml.safe_dump(tree, sort_keys=False)
    for kind, names in (("group_vars", ["all", *GROUPS]), ("host_vars", HOSTS)):
        for name in draw(st.sets(st.sampled_from(names), max_size=3)):
            suffix = draw(st.sampled_from([".yml", ".yaml", ".json", "", "/x.yml"]))
            files[f"{kind}/{name}{suffix}"] = json.dumps(draw(VARIABLES))
    return files


@settings(max_examples=60, deadline=None)
@given(files=inventories())
def test_any_inventory_reads_as_ansible_reads_it(files: dict[str, str], oracle: Oracle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), files)
        assert as_ansible_says(read(Path(folder))) == oracle(Path(folder))["hosts"]


def test_a_file_alone_is_an_inventory_with_the_variables_beside_it(tmp_path: Path, oracle: Oracle) -> None:
    write(tmp_path, {"site.yml": "a: {hosts: {h: }}", "group_vars/a.yml": "v: 1", "other.yml": "a: {hosts: {i: }}"})
    assert as_ansible_says(read(tmp_path / "site.yml")) == oracle(tmp_path / "site.yml")["hosts"] == {"h": {"v": 1}}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"hosts.yml": "a:\n  hosts: {h: [}"}, "hosts.yml:2: is not valid YAML"),
        ({"hosts.yml": "a:\n\thosts:"}, "hosts.yml:2: is not valid YAML"),
        ({"hosts.yml": "a: {hosts: {h: !!python/object:os.system {}}}"}, "is not valid YAML"),
        ({"hosts.yml": "- a\n- b\n"}, "at its top level it needs groups"),
        ({"hosts.yml": "plugin: aws_ec2\n"}, "at its top level it needs groups"),
        ({"hosts.yml": "a: {host: {h: }}"}, "'host' is none of `hosts`, `vars` and `children`"),
        ({"hosts.yml": "a: {hosts: [h, i]}"}, "`hosts` needs a mapping, not list"),
        ({"hosts.yml": "a: {hosts: {h: 5}}"}, "host h: needs a mapping of variables"),
        ({"hosts.yml": "a: {hosts: {7: }}"}, "host 7 is not text"),
        ({"hosts.yml": "a: {hosts: {'n[3:1]': }}"}, "the first of a range comes before its last"),
        ({"hosts.yml": "a: {hosts: {'n[1:3]': , n2: }}"}, "duplicate host n2"),
        ({"hosts.yml": "a:\n  hosts:\n    h:\n    h:\n"}, "hosts.yml:4: 'h' is there twice"),
        ({"hosts.yml": "a: {children: {b: {children: {a: }}}}"}, "both above and below"),
        ({"hosts.yml": "a-b: {hosts: {h: }}"}, "'a-b' is not a name for a group"),
        ({"hosts.yml": "a: {vars: {ansible_group_priority: high}}"}, "ansible_group_priority is a number"),
        ({"hosts.yml": "a: {hosts: {h: }}", "group_vars/a.yml": "- 1"}, "needs variables as `name: value`"),
        ({"hosts.yml": "a: {hosts: {h: }}", "group_vars/a.yml": "u: 1\nv: }"}, "a.yml:2: is not valid YAML"),
        ({"hosts.ini": "[a]\nh"}, "only YAML inventories"),
        ({"hosts.yml": "a: {hosts: {h: }}", "more/b.yml": "b:"}, "Ansible would read this folder"),
        ({"group_vars/a.yml": "v: 1"}, "holds no inventory file"),
        ({"hosts.yml": "a: {hosts: {a: }}"}, "a is a host and a group"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(files: dict[str, str], said: str, tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, files))
    assert any(said in problem for problem in problems), problems


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path / "nowhere")
    assert "there is no such inventory" in problem
