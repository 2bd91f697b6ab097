#!/bin/sh
# What the tests use from Debian when they may install it: PostgreSQL, so that the store's contract runs on it too;
# iproute2 and nftables for the lab (docs/lab.md); Chromium for the page's tests (tests/browser); docker-registry and
# skopeo for bundles in registries, bubblewrap for their plugins. Without root nothing happens, and those tests say why
# they are skipped.
set -eu
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
wanted=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || wanted="postgresql"
command -v ip >/dev/null && command -v tc >/dev/null || wanted="$wanted iproute2"
command -v nft >/dev/null || wanted="$wanted nftables"
command -v chromium >/dev/null || wanted="$wanted chromium"
command -v docker-registry >/dev/null || wanted="$wanted docker-registry"
command -v skopeo >/dev/null || wanted="$wanted skopeo"
command -v bwrap >/dev/null || wanted="$wanted bubblewrap"
[ -n "$wanted" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # one word for each package
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends $wanted; } >/dev/null 2>&1 ||
    echo "These could not be installed; the tests that need them will be skipped: $wanted" >&2
