#!/usr/bin/env bash
# Installs the named Debian packages that are missing, when it may; otherwise
# says which they are.
set -euo pipefail
command -v dpkg-query >/dev/null || exit 0 # not Debian: the tests say what they miss
missing=()
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "the tests need these Debian packages: ${missing[*]} (sudo apt-get install ${missing[*]})" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
