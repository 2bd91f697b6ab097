#!/bin/sh
# What the tests use from Debian when they may install it: PostgreSQL, so that the store's contract runs on it too.
# Without root nothing happens, and those tests say why they are skipped.
set -eu
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && exit 0
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql; } >/dev/null 2>&1 ||
    echo "PostgreSQL could not be installed; its tests will be skipped." >&2
