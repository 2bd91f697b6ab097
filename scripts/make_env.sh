#!/bin/sh
# Make a virtual environment from nothing: make_env.sh FOLDER EXTRAS
# Takes the first Python >= 3.11 it finds; exact versions come from constraints.txt. A folder that is there is made anew.
set -eu
folder=$1
extras=$2
cd "$(dirname "$0")/.."

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11, 3.12 or 3.13 is needed and was not found. Install it, or name it: PYTHON=/path/to/python3 make …" >&2
    exit 1
}

python=$(find_python)
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian keeps this part of Python in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get -qq update && apt-get -qq install -y python3-venv >/dev/null
    else
        echo "Python's venv module is missing. On Debian and Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
fi

rm -rf "$folder"
"$python" -m venv "$folder"
# torch is pinned and resolved together with all the rest, or pip would take a newer build with gigabytes of CUDA.
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
# pip compiles what it installs, but not what it only points at: each of our processes would compile our modules anew.
"$folder/bin/python" -m compileall -q swarm peer coordinator
