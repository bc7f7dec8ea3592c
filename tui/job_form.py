"""A job's specification as text fields of a form, and back: pure, with a complaint for each field that cannot be."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fleetward.model.yaml_files import Sexagesimal


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form."""

    name: str
    hint: str
    write: Callable[[Any], str]
    """From the document's value to text."""
    read: Callable[[str], Any]
    """From text to the document's value; ValueError says what is wrong."""


def _as_text(value: object) -> str:
    if isinstance(value, Sexagesimal):
        return value.text
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _as_words(value: object) -> str:
    if isinstance(value, list | tuple):
        return shlex.join(_as_text(word) for word in value)
    return _as_text(value)


def _as_pairs(value: object) -> str:
    if isinstance(value, Mapping):
        return shlex.join(f"{name}={_as_text(text)}" for name, text in value.items())
    return _as_text(value)


def _same(text: str) -> str:
    return text


def _number(text: str) -> object:
    return int(text) if text.isascii() and text.isdigit() else text


def _truth(text: str) -> object:
    return {"yes": True, "true": True, "no": False, "false": False}.get(text.casefold(), text)


def _words(text: str) -> object:
    return shlex.split(text)


def _pairs(text: str) -> object:
    pairs = {}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} has no value; write NAME=value, parted by spaces")
        pairs[name] = value
    return pairs


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"write it in JSON, as the grey text in the empty field has it ({error})") from error


FIELDS = (
    Field("name", "such as train-7b", _as_text, _same),
    Field("account", "the account that pays", _as_text, _same),
    Field("partition", "default: the cluster's", _as_text, _same),
    Field("qos", "default: the account's", _as_text, _same),
    Field("nodes", "default: 1", _as_text, _number),
    Field("gpus_per_node", "such as 8 or h100:8", _as_text, _same),
    Field("tasks_per_node", "default: 1", _as_text, _number),
    Field("cpus_per_task", "default: 1", _as_text, _number),
    Field("memory_per_node", "such as 4G", _as_text, _same),
    Field("time", "such as 01:30:00 or 2-12", _as_text, _same),
    Field("requeue", "yes or no; default: no", _as_text, _truth),
    Field("output", "default: %x-%j.log", _as_text, _same),
    Field("environment", "such as NAME=value NAME='two words'", _as_pairs, _pairs),
    Field("setup", 'such as [["module","load","cuda"]]', _as_text, _json),
    Field("command", "such as python train.py --steps 100", _as_words, _words),
    Field("working_directory", "default: the folder of the file", _as_text, _same),
    Field("launcher", "srun, torchrun, deepspeed or mpi; default: srun", _as_text, _same),
    Field("survive", 'such as {"warning":120,"attempts":4}', _as_text, _json),
    Field("sweep", 'such as {"grid":{"lr":[0.1,0.01]},"gpu_budget":16}', _as_text, _json),
    Field("container", 'such as {"image":"/images/torch.sqsh"}', _as_text, _json),
    Field("depends_on", 'such as [{"job":"12","condition":"afterok"}]', _as_text, _json),
    Field("kill_on_invalid_dependency", "yes or no; default: the cluster's", _as_text, _truth),
    Field("exclude", 'such as ["gpu003","gpu[010-012]"]', _as_text, _json),
    Field("nodelist", 'such as ["gpu[001-002]"]', _as_text, _json),
    Field("constraint", "such as h100&infiniband", _as_text, _same),
    Field("reservation", "default: none", _as_text, _same),
    Field("exclusive", "yes or no; default: no", _as_text, _truth),
    Field("label_ranks", "yes or no; default: where there is more than one task", _as_text, _truth),
    Field("nccl", "yes or no; default: yes", _as_text, _truth),
    Field("mpi_type", "default: pmix", _as_text, _same),
)
"""Every field of a specification, those first that most jobs have; they fit on a screen of 24 lines."""


def texts_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each field that a document has."""
    return {field.name: field.write(document[field.name]) for field in FIELDS if document.get(field.name) is not None}


def document_of(texts: Mapping[str, str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the document that texts make, empty ones left out, and field and sentence of each that makes none."""
    document: dict[str, Any] = {}
    complaints: list[tuple[str, str]] = []
    for field in FIELDS:
        text = texts.get(field.name, "").strip()
        if not text:
            continue
        try:
            document[field.name] = field.read(text)
        except ValueError as error:
            complaints.append((field.name, str(error)))
    return document, complaints
