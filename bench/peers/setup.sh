#!/bin/sh
# Installs the pinned packages of the naive Python gateway into .cache/bench/python, a Python environment of its own.
# Does nothing when the lock file has not changed since the last run. Needs python3 with venv and a package index;
# nothing outside .cache is touched.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=$here/../../.cache/bench

fail() { echo "setup.sh: $*" >&2; exit 1; }

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
stamp=$(cd "$here" && { sha256sum requirements.txt setup.sh; python3 --version; uname -m; } | sha256sum)
if [ -f "$cache/stamp" ] && [ "$(cat "$cache/stamp")" = "$stamp" ]; then
    exit 0
fi
rm -rf "$cache/stamp" "$cache/python"
python3 -m venv "$cache/python" || fail "python3 cannot create environments: apt-get install python3-venv"
install() { "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"; }
# Package indexes drop a connection now and then; a second failure is real.
install || install || fail "pip could not install requirements.txt (message above); is a package index reachable?"
"$cache/python/bin/python" -m pip check >&2 || fail "requirements.txt is not a consistent set"
echo "$stamp" >"$cache/stamp"
