"""A whole daemon in one process: a real record in PostgreSQL, Slurm and Prometheus played, no network."""

import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from played_slurm import PlayedSlurm
from starlette.testclient import TestClient

from fleetward.runbooks.actions.ansible_play import Play, Played
from fleetward.runbooks.actions.node_run import NodeStep, NodeStepState, NoNodes
from fleetward.runbooks.prometheus import Sample
from fleetward.server.assembly import Made
from fleetward.server.node_tokens import token_of
from fleetward.store.database import Database
from fleetward.store.embedded import EmbeddedPostgres

Document = dict[str, Any]
T = TypeVar("T")

TOKEN = "a-token-of-the-webhook"
NODE_KEYS = (b"the newest key of the tokens of nodes", b"the key from before that is still good")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

PAGE = """\
---
id: test-node-broken
title: A node is broken
alerts: [NodeBroken]
severity: critical
params: {node: {from: labels.node}}
blast: node
mode: %(mode)s
---
# A node is broken

## Meaning
{{ node }} is broken. <script>alert(1)</script>

## Impact
Jobs die.

## Diagnosis
Look.

## Mitigation
```step drain
slurm.drain: "{{ node }}"
why: "it is broken"
```

## Verification
```step mended
approve: "Was {{ node }} mended?"
```
```step back
slurm.resume: "{{ node }}"
```

## Escalation
Call.

## History
None.
"""


CHANGE_PAGE = """\
---
id: test-change
title: Play a node
alerts: []
severity: info
params: {node: {}, patience: {default: 1h, pattern: "[0-9]+[smhd]"}}
blast: node
mode: propose
---
# Play a node

## Meaning
{{ node }} is played.

## Impact
None.

## Diagnosis
None.

## Mitigation
```step drain
slurm.drain: "{{ node }}"
why: "to be played"
class: maintenance
```
```step empty
slurm.wait_for_jobs: "{{ node }}"
within: "{{ patience }}"
```
```step play
ansible.play: site
on: "{{ node }}"
```

## Verification
```step back
slurm.resume: "{{ node }}"
```

## Escalation
Call.

## History
None.
"""
"""A change that drains a node, waits for its jobs, plays it and gives it back."""


@dataclass
class PlayedPrometheus:
    """Answers with what a test put in, by a word that the question has in it."""

    answers: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    raises: Exception | None = None

    def query(self, expression: str) -> tuple[Sample, ...]:
        if self.raises is not None:
            raise self.raises
        return next((found for word, found in self.answers.items() if word in expression), ())


@dataclass
class PlayedPlayer:
    """Plays nothing, and says of each node what a test put in."""

    fails: dict[str, str] = field(default_factory=dict)
    played: list[str] = field(default_factory=list)
    on_play: Callable[[str], None] = lambda _: None

    def play(self, wanted: Play, report: Callable[[str], None]) -> Played:
        self.played.append(wanted.node)
        self.on_play(wanted.node)
        why = self.fails.get(wanted.node)
        return Played(3, 1, () if why is None else (why,))


@dataclass
class PlayedRunner(NoNodes):
    """Notes what was to run on nodes; a log that a test put in can be fetched."""

    ran: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """By their paths."""
    raises: Exception | None = None

    def run(self, node: str, argv: Sequence[str], marker: str, seconds: float, up_for: float) -> NodeStep:
        self.ran.append((node, tuple(argv)))
        if self.raises is not None:
            raise self.raises
        if argv[0] == "bash":
            log = self.logs.get(argv[-1])
            packed = "" if log is None else base64.b64encode(gzip.compress(log.encode())).decode()
            return NodeStep(NodeStepState.ENDED, 1000.0, int(log is None), output=packed)
        return super().run(node, argv, marker, seconds, up_for)


@dataclass
class Daemon:
    """The daemon under test and the world that it sees."""

    made: Made
    slurm: PlayedSlurm
    prometheus: PlayedPrometheus
    folder: Path
    database: Database
    local: TestClient
    public: TestClient
    player: PlayedPlayer = field(default_factory=PlayedPlayer)
    runner: PlayedRunner = field(default_factory=PlayedRunner)

    def post(self, *alerts: Mapping[str, Any], token: str = TOKEN) -> httpx.Response:
        answer: httpx.Response = self.public.post(
            "/alertmanager",
            content=json.dumps({"version": "4", "alerts": alerts}),
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        return answer

    def tell(self, node: str, kind: str, body: object, token: str | None = None) -> httpx.Response:
        """Post as a node; `body` is text where it is to go as it stands."""
        bearer = token_of(node, NODE_KEYS) if token is None else token
        answer: httpx.Response = self.public.post(
            f"/v1/nodes/{node}/{kind}",
            content=body if isinstance(body, str | bytes) else json.dumps(body),
            headers={"Authorization": f"Bearer {bearer}"} if bearer else {},
        )
        return answer

    def get(self, path: str) -> Document:
        answer = self.local.get(path)
        assert answer.status_code == 200, answer.text
        found: Document = answer.json()
        return found

    def ask(self, path: str, **body: object) -> Document:
        answer = self.local.post(path, json=body)
        assert answer.status_code == 200, answer.text
        found: Document = answer.json()
        return found

    def incident(self, number: int = 1) -> Document:
        return self.get(f"/v1/incidents/{number}")

    def run(self, number: int = 1) -> Document:
        return self.get(f"/v1/runs/{number}")

    def change_page(self) -> None:
        """Put the page of a change where the site's own pages are."""
        (self.folder / "test-change.md").write_text(CHANGE_PAGE)

    def page(self, mode: str) -> None:
        (self.folder / "test-node-broken.md").write_text(PAGE % {"mode": mode})


def alert(name: str = "NodeBroken", *, status: str = "firing", fingerprint: str = "", **labels: str) -> dict[str, Any]:
    named = {"alertname": name, "severity": "critical", "node": "gpu002"} | labels
    return {
        "status": status,
        "labels": {key: value for key, value in named.items() if value},
        "annotations": {"summary": f"{name} on {named['node']}"},
        "startsAt": NOON.isoformat(),
        "endsAt": NOON.isoformat() if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus",
        "fingerprint": fingerprint or "".join(each for each in "".join(named.values()) if each.isalnum())[:60],
    }


@contextmanager
def cut(daemon: Daemon, server: EmbeddedPostgres) -> Iterator[None]:
    """Close the daemon's database to everybody, without ending the server that other tests use."""
    with daemon.database.transaction() as connection:
        row = connection.execute("select current_database() as name").fetchone()
    assert row is not None
    with psycopg.connect(server.address.replace("dbname=fleetward", "dbname=postgres"), autocommit=True) as admin:
        admin.execute(f"alter database {row['name']} allow_connections false".encode())
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [row["name"]])
        yield
        admin.execute(f"alter database {row['name']} allow_connections true".encode())


def eventually(holds: Callable[[], T], seconds: float = 15) -> T:
    """Return what becomes true within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < until, f"did not come to hold within {seconds} s; the last was {found!r}"
        time.sleep(0.02)
