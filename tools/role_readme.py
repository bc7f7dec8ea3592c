"""Write each role's README from what the role says of itself: `tools/role_readme.py [--check] [ROLE ...]`.

Read are `meta/argument_specs.yml`, `meta/main.yml`, `defaults/main.yml` and the tags in `tasks/main.yml`. With
`--check` nothing is written, and the exit code is 1 where a README is not what would be written.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parent.parent / "roles"
NOTICE = "<!-- Made by tools/role_readme.py from the role's own files: change those, then run it. -->"


@dataclass(frozen=True)
class Variable:
    """One row of the table."""

    name: str
    kind: str
    default: str
    description: str


def read(path: Path) -> Any:  # noqa: ANN401  a YAML file may hold anything
    """Return the content of a YAML file; an empty map where there is no such file."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def prose(text: str | list[str]) -> list[str]:
    """Return paragraphs with Ansible's markup, such as C(x) or O(x), as Markdown code."""
    paragraphs = [text] if isinstance(text, str) else text
    return [re.sub(r"\b[CVOP]\(([^()]*)\)", r"`\1`", " ".join(paragraph.split())) for paragraph in paragraphs]


def variables(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[Variable]:
    """Yield the variables of a role in the order of its specification, those inside others after them."""
    for name, option in options.items():
        kind = option.get("type", "str")
        if "elements" in option:
            kind = f"{kind} of {option['elements']}"
        words = prose(option.get("description", ""))
        if "choices" in option:
            words.append(f"One of {', '.join(f'`{choice}`' for choice in option['choices'])}.")
        if option.get("required"):
            default = "required"
        else:
            default = shown(defaults.get(name, option.get("default"))) if not prefix else shown(option.get("default"))
        yield Variable(f"{prefix}{name}", kind, default, " ".join(words))
        inside = "[]." if option.get("type") == "list" else "."
        yield from variables(option.get("options", {}), {}, f"{prefix}{name}{inside}")


def shown(value: object) -> str:
    """Return a default as it would be written in YAML, in one line."""
    if value is None:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    text = value if isinstance(value, str) and value else text.removesuffix("\n").removesuffix("\n...")
    return f"`{text}`"


def cell(text: str) -> str:
    """Return text that cannot end a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def tags(tasks: list[dict[str, Any]]) -> list[str]:
    """Return the tags of a role's stages, each once, in their order."""
    return list(dict.fromkeys(tag for task in tasks for tag in task.get("tags", [])))


def render(role: Path) -> str:
    """Return the README of the role in this folder."""
    main = read(role / "meta/argument_specs.yml")["argument_specs"]["main"]
    about = read(role / "meta/main.yml")["galaxy_info"]
    rows = list(variables(main.get("options", {}), read(role / "defaults/main.yml")))
    lines = [NOTICE, "", f"# {role.name}", "", *prose(main["short_description"])]
    for paragraph in prose(main.get("description", [])):
        lines += ["", paragraph]
    lines += ["", "## Variables", ""]
    if rows:
        lines += ["| variable | type | default | what it is |", "|---|---|---|---|"]
        lines += [f"| `{row.name}` | {row.kind} | {cell(row.default)} | {cell(row.description)} |" for row in rows]
    else:
        lines += ["There are none."]
    lines += ["", "## Tags", "", ", ".join(f"`{tag}`" for tag in tags(read(role / "tasks/main.yml")))]
    lines += ["", "## Platforms", ""]
    lines += [f"- {platform['name']}: {', '.join(platform['versions'])}" for platform in about["platforms"]]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the READMEs; the exit code is 1 where a check finds one that is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which READMEs are not up to date")
    parser.add_argument("--roles", type=Path, default=ROLES, help="folder of the roles [%(default)s]")
    parser.add_argument("role", nargs="*", help="names of roles [all]")
    options = parser.parse_args()
    chosen = options.role or sorted(path.name for path in options.roles.iterdir() if (path / "meta").is_dir())
    stale = []
    for name in chosen:
        readme = options.roles / name / "README.md"
        text = render(options.roles / name)
        if readme.exists() and readme.read_text() == text:
            continue
        stale.append(str(readme))
        if not options.check:
            readme.write_text(text)
    for path in stale:
        print(f"{path}: {'not up to date: run tools/role_readme.py' if options.check else 'written'}", file=sys.stderr)
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
