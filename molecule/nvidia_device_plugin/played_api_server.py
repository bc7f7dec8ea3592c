#!/usr/bin/env python3
"""Plays as much of a Kubernetes API server as `kubectl apply --server-side`, `diff`, `get`, `taint` and `delete` want.

    played_api_server.py ADDRESS:PORT FOLDER

It keeps what it is given in FOLDER/objects.json and who gave which field in FOLDER/applied.json, merges field by field
(lists as a whole), refuses fields that another manager set otherwise, drops what its owner no longer gives, and writes
every request that changes something into FOLDER/requests. It checks nothing against a schema, has no controllers but
one sentence about DaemonSets, knows no watches and lets everybody do everything. node-feature-discovery is there where
FOLDER/nfd is.
"""

import json
import sys
import uuid
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
# group/version: resource: (kind, namespaced)
RESOURCES: dict[str, dict[str, tuple[str, bool]]] = {
    "v1": {"namespaces": ("Namespace", False), "nodes": ("Node", False), "configmaps": ("ConfigMap", True)},
    "apps/v1": {"daemonsets": ("DaemonSet", True)},
    "node.k8s.io/v1": {"runtimeclasses": ("RuntimeClass", False)},
    "nfd.k8s-sigs.io/v1alpha1": {"nodefeaturerules": ("NodeFeatureRule", False)},
}
LOCK = RLock()


class RefusedError(Exception):
    """What an API server would answer with a Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {
            **{"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"},
            **{"message": message, "reason": reason, "code": code},
        }


def leaves(tree: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Return every value with the path to it; a list is one value."""
    if not isinstance(tree, dict) or not tree:
        return {path: tree}
    return {where: value for key, part in tree.items() for where, value in leaves(part, (*path, key)).items()}


def merged(old: object, patch: object) -> Any:  # noqa: ANN401  JSON
    """Return `old` with a merge patch; null removes."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def without(tree: Json, path: tuple[str, ...]) -> None:
    """Remove what is at a path."""
    *way, last = path
    for key in way:
        part = tree.get(key)
        if not isinstance(part, dict):
            return
        tree = part
    tree.pop(last, None)


class Cluster:
    """What the API server keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: dict[str, Json] = self._read("objects.json")
        self.applied: dict[str, dict[str, Json]] = self._read("applied.json")

    def _read(self, name: str) -> Any:  # noqa: ANN401  JSON
        file = self.folder / name
        return json.loads(file.read_text()) if file.exists() else {}

    def resources(self) -> dict[str, dict[str, tuple[str, bool]]]:
        """Return what is served now."""
        has_nfd = (self.folder / "nfd").exists()
        return {version: kinds for version, kinds in RESOURCES.items() if has_nfd or not version.startswith("nfd.")}

    def keep(self, what: str) -> None:
        """Write all of it down, and the request that changed it."""
        (self.folder / "objects.json").write_text(json.dumps(self.objects, indent=1))
        (self.folder / "applied.json").write_text(json.dumps(self.applied, indent=1))
        with (self.folder / "requests").open("a") as file:
            file.write(what + "\n")

    def apply(self, key: str, manager: str, given: Json, *, force: bool) -> tuple[Json, dict[str, Json]]:
        """Return the object after a server-side apply, and who has given what."""
        others = {name: config for name, config in self.applied.get(key, {}).items() if name != manager}
        wanted = {path: value for path, value in leaves(given).items() if path[0] not in {"apiVersion", "kind"}}
        taken = [
            (name, path)
            for name, config in others.items()
            for path, value in leaves(config).items()
            if path in wanted and wanted[path] != value
        ]
        if taken and not force:
            whose = "; ".join(f'conflict with "{name}": .{".".join(path)}' for name, path in taken)
            raise RefusedError(409, "Conflict", f"Apply failed with {len(taken)} conflict: {whose}")
        result = deepcopy(self.objects.get(key, {}))
        for path in leaves(self.applied.get(key, {}).get(manager, {})):
            if path and path not in wanted and not any(path in leaves(config) for config in others.values()):
                without(result, path)
        for name, path in taken:
            without(others[name], path)
        return merged(result, given), {**others, manager: given}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, document: object, code: int = 200) -> None:
        """Send JSON."""
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self) -> None:
        """Answer, or say why not."""
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            with LOCK:
                document, code = self.respond(url.path.strip("/").split("/"), query, body)
        except RefusedError as refused:
            document, code = refused.status, refused.status["code"]
        self.answer(document, code)

    do_GET = do_PATCH = do_POST = do_DELETE = handle_any  # as http.server calls them

    def respond(self, path: list[str], query: dict[str, str], body: Json) -> tuple[object, int]:
        """Return the document and the code for one request."""
        if path[0] in {"version", "openapi"} or len(path) <= (2 if path[0] == "api" else 3):
            return self.about(path), 200
        version, rest = ("v1", path[2:]) if path[0] == "api" else ("/".join(path[1:3]), path[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kinds = self.cluster.resources().get(version, {})
        if rest[0] not in kinds:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        if namespace and f"v1/namespaces//{namespace}" not in self.cluster.objects:
            raise RefusedError(404, "NotFound", f'namespaces "{namespace}" not found')
        place = f"{version}/{rest[0]}/{namespace}/"
        if len(rest) == 1:
            return self.listed(place, version, kinds[rest[0]][0], query), 200
        return self.one(place + rest[1], rest[0], rest[1], query, body)

    def listed(self, place: str, version: str, kind: str, query: dict[str, str]) -> Json:
        """Return the objects of one kind that a selector chooses."""
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        items = [
            self.seen(found)
            for key, found in sorted(self.cluster.objects.items())
            if key.startswith(place)
            and wanted.items() <= found["metadata"].get("labels", {}).items()
            and name in {"", found["metadata"]["name"]}
        ]
        return {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}

    def one(self, key: str, resource: str, name: str, query: dict[str, str], body: Json) -> tuple[object, int]:
        """Read, change or remove one object."""
        cluster, old = self.cluster, self.cluster.objects.get(key)
        applies = self.command == "PATCH" and "apply-patch" in self.headers["Content-Type"]
        if old is None and not applies:
            raise RefusedError(404, "NotFound", f'{resource} "{name}" not found')
        if self.command == "GET":
            return self.seen(old or {}), 200
        if self.command == "DELETE":
            cluster.objects.pop(key)
            cluster.applied.pop(key, None)
            cluster.keep(f"DELETE {key}")
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 200
        applied = cluster.applied.get(key, {})
        if applies:
            new, applied = cluster.apply(key, query["fieldManager"], body, force=query.get("force") == "true")
        else:
            new = merged(old, body)
        self.number(old, new)
        if "dryRun" not in query and new != old:
            cluster.objects[key] = new
            cluster.applied[key] = applied
            cluster.keep(f"{self.command} {key}{' by ' + query['fieldManager'] if applies else ''}")
        return self.seen(new), 201 if old is None else 200

    @staticmethod
    def number(old: Json | None, new: Json) -> None:
        """Give what is new or changed its numbers."""
        if old is None:
            new["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp="2026-01-01T00:00:00Z", generation=1)
            new["metadata"]["resourceVersion"] = "1"
        elif new != old:
            new["metadata"]["resourceVersion"] = str(int(old["metadata"]["resourceVersion"]) + 1)
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + (new.get("spec") != old.get("spec"))

    def seen(self, found: Json) -> Json:
        """Return an object as it is shown: a DaemonSet runs on every node that its selector chooses."""
        if found["kind"] != "DaemonSet":
            return found
        selector = found["spec"]["template"]["spec"].get("nodeSelector", {})
        nodes = [node for key, node in self.cluster.objects.items() if key.startswith("v1/nodes/")]
        number = sum(selector.items() <= node["metadata"].get("labels", {}).items() for node in nodes)
        numbers = ("currentNumberScheduled", "desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        status = {"observedGeneration": found["metadata"]["generation"], **dict.fromkeys(numbers, number)}
        return {**found, "status": status}

    def about(self, path: list[str]) -> object:
        """Return what clients ask before anything else."""
        served = self.cluster.resources()
        if path == ["version"]:
            return {"major": "1", "minor": "32", "gitVersion": "v1.32.0-played", "platform": "linux/amd64"}
        if path[0] == "openapi":
            return self.openapi(path[2:])
        if path == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if path == ["apis"]:
            versions = {
                name.split("/")[0]: {"groupVersion": name, "version": name.split("/")[1]} for name in list(served)[1:]
            }
            groups = [{"name": group, "versions": [one], "preferredVersion": one} for group, one in versions.items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        name = "v1" if path[0] == "api" else "/".join(path[1:3])
        if name not in served:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        resources = [
            {
                **{"name": resource, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind},
                "verbs": ["create", "delete", "get", "list", "patch", "watch"],
            }
            for resource, (kind, namespaced) in served[name].items()
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}

    def openapi(self, path: list[str]) -> object:
        """Return which queries a PATCH understands; kubectl asks that before it sends one."""
        served = self.cluster.resources()
        if not path:
            names = [f"api/{name}" if name == "v1" else f"apis/{name}" for name in served]
            return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash=played"} for name in names}}
        version = "/".join(path[1:])
        group, _, number = version.rpartition("/")
        known = [{"name": name, "in": "query"} for name in ("dryRun", "fieldManager", "fieldValidation", "force")]
        paths = {
            f"/{'/'.join(path)}/{resource}/{{name}}": {
                "patch": {
                    "parameters": known,
                    "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
                    "responses": {},
                }
            }
            for resource, (kind, _) in served.get(version, {}).items()
        }
        return {"openapi": "3.0.0", "info": {"title": "played", "version": "0"}, "paths": paths}


def main() -> None:
    """Serve until killed."""
    (address, _, port), folder = sys.argv[1].rpartition(":"), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    Handler.cluster = Cluster(folder)
    ThreadingHTTPServer((address, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
