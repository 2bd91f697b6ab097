#!/bin/sh
# Resolve pyproject.toml anew and write the exact versions that a fresh install gives to constraints.txt.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
extras=$(python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"], sep=",")')
# The extras of `evals` (lm-eval → pytablewriter → typepy) want python-dateutil below 3. With a newer one fixed here pip
# tries all versions of all that it may still choose, and seems to hang.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "python-dateutil<3" -e ".[$extras]"
{
    echo "# Exact versions of an install with all extras; made by 'make constraints'."
    "$work/venv/bin/pip" freeze --exclude-editable | grep -v '^garage-swarm' | sed 's/+cpu$//'
} >"$work/constraints.txt"
mv "$work/constraints.txt" constraints.txt
