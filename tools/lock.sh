#!/usr/bin/env bash
# Renews the lock files: one per extra, for every Python and with hashes, since nodes install from them without an index.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
[ -x "$uv" ] || .venv/bin/pip install --quiet uv
options=(--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet)
"$uv" pip compile pyproject.toml --extra node "${options[@]}" -o requirements/node.txt
"$uv" pip compile pyproject.toml --extra head "${options[@]}" -o requirements/head.txt
"$uv" pip compile pyproject.toml --extra controller "${options[@]}" -o requirements/controller.txt
"$uv" pip compile pyproject.toml --extra server "${options[@]}" -o requirements/server.txt
"$uv" pip compile pyproject.toml --extra server --group dev "${options[@]}" -o requirements/dev.txt
"$uv" pip compile examples/digits/requirements.in "${options[@]}" -o examples/digits/requirements.txt
"$uv" pip compile requirements/pyslurm.in --no-deps "${options[@]}" -o requirements/pyslurm.txt
"$uv" pip compile requirements/peers.in "${options[@]}" -o requirements/peers.txt
