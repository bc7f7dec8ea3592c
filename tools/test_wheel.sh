#!/usr/bin/env bash
# Runs the tests that need no container against the installed wheel: built here, installed into an environment of its
# own, and tested from a folder in which the checkout cannot be imported.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
"$work/venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/dist" .
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$work"/dist/fleetward-*.whl
ln -s "$PWD/.venv/bin/promtool" "$work/venv/bin/promtool" # no package: tools/setup.sh fetched it
mkdir "$work/elsewhere"
cp -r tests docs pyproject.toml "$work/elsewhere" # tests hold the guides against the command
cd "$work/elsewhere"
where=$("$work/venv/bin/python" -c 'import fleetward; print(fleetward.__file__)')
case "$where" in
"$work"/*) ;;
*) echo "the tests would run against $where, not the wheel" >&2 && exit 1 ;;
esac
PATH="$work/venv/bin:$PATH" "$work/venv/bin/pytest" -p no:cacheprovider -n auto --dist loadfile -m "not lab and not slurm and not checkout" "$@"
