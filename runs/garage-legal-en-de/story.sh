#!/usr/bin/env bash
# The whole story in small, on one machine and without a network: data, launch, three volunteers, evaluation, red team,
# a refused release, the release, a registry, and the model's answers on "another machine". README.md tells it.
#
#   runs/garage-legal-en-de/story.sh FOLDER [REGISTRY]
#
# REGISTRY is one on this machine, such as 127.0.0.1:5000; without it the bundle is handed over as a folder. `swarm`
# and `python` must be those of the installation. OTHER_USER, when you are root, is who pulls and chats.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
registry=${2:-}
export SWARM_HOME=$work/maintainer
running=()

as() { # somebody's command: each person has a home, a key and a cache of its own
    local home=$work/$1
    shift
    SWARM_HOME=$home "$@"
}

say() { printf '\n== %s\n' "$*"; }

end_all() {
    local pid
    for pid in "${running[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
    wait
}
trap end_all EXIT

until_there() { # what is waited for, seconds, and a command that says so
    local what=$1 left=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((left-- > 0)) || { echo "It took too long: $what."; exit 1; }
        sleep 1
    done
}

say "Two maintainers make the keys with which they release"
one=$(swarm signer new | grep -oE '\b[0-9a-f]{32}\b' | head -n 1)
two=$(as second swarm signer new | grep -oE '\b[0-9a-f]{32}\b' | head -n 1)
echo "$one, $two"

say "Data and a base"
python "$here/rehearse.py" "$work" "$one" "$two"
swarm data prepare "$work/run.toml" --output "$work/prepared"

say "Launch, and three volunteers join"
swarm launch "$work/run.toml" --data-dir "$work/run" --host 127.0.0.1 --port 0 >"$work/launch.log" 2>&1 &
running+=($!)
until_there "the invite" 120 grep -q 'swarm://' "$work/launch.log"
invite=$(grep -om 1 'swarm://[^ ]*' "$work/launch.log")
volunteers=()
for name in anna ben cleo; do
    as "$name" swarm join "$invite" --name "$name" --credit "$name" --device cpu --threads 1 --yes >"$work/$name.log" 2>&1 &
    running+=($!)
    volunteers+=($!)
done
for pid in "${volunteers[@]}"; do wait "$pid"; done
swarm status "$invite"

say "The volunteers evaluate and red-team what they have trained"
for name in anna ben cleo; do
    as "$name" swarm join "$invite" --work trials --name "$name" --device cpu --threads 1 --yes >"$work/$name-trials.log" 2>&1 &
    running+=($!)
done
swarm evaluate "$work/run" --spread --suite heldout
swarm redteam run "$work/run" --spread
