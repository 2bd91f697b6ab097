#!/bin/sh
# All static checks: lint.sh BIN, where BIN holds the environment's programs.
set -eu
cd "$(dirname "$0")/.."
bin=$(cd "$1" && pwd)
"$bin/ruff" check .
"$bin/ruff" format --check --quiet . || { echo "ruff format would change files: run '$1/ruff format .'" >&2; exit 1; }
"$bin/mypy"
"$bin/lint-imports" --no-cache >/dev/null || "$bin/lint-imports" --no-cache
generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT
PATH="$bin:$PATH" scripts/generate_protos.sh "$generated" 2>/dev/null
for file in "$generated"/swarm/proto/*; do
    cmp -s "$file" "swarm/proto/$(basename "$file")" ||
        { echo "swarm/proto/$(basename "$file") is not what protos/ gives: run 'make protos'" >&2; exit 1; }
done
echo "lint: clean"
