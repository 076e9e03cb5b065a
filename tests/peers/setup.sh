#!/bin/sh
# Installs the pinned third-party peers of the end-to-end tests into .cache/peers:
#   node/       Node 22, the conformance suite, the TypeScript SDKs, server-everything
#   py/         Python mcp 2.x        py-legacy/  Python mcp 1.x
# Does nothing when the lock files have not changed since the last run. Needs python3 with venv, npm and a package
# registry; nothing outside .cache is touched. Safe to run twice at once.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
peers=$here/../../.cache/peers
locks='package.json package-lock.json requirements.txt requirements-legacy.txt setup.sh'

say() { echo "setup.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# Registries drop a connection now and then; a second failure is real.
twice() {
    "$@" && return 0
    say "failed: $*; trying once more"
    "$@"
}

python_env() {
    rm -rf "${peers:?}/$1"
    python3 -m venv "$peers/$1" || fail "python3 cannot create environments: apt-get install python3-venv"
    twice "$peers/$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/$2" ||
        fail "pip could not install $2 (message above); is a PyPI index reachable?"
    "$peers/$1/bin/python" -m pip check >&2 || fail "$2 is not a consistent set"
}

command -v flock >/dev/null || fail "flock is missing: apt-get install util-linux"
mkdir -p "$peers"
exec 9>"$peers/lock"
flock 9

command -v python3 >/dev/null || fail "python3 is missing: apt-get install python3 python3-venv"
stamp=$(cd "$here" && { sha256sum $locks; python3 --version; uname -m; } | sha256sum)
if [ -f "$peers/stamp" ] && [ "$(cat "$peers/stamp")" = "$stamp" ]; then
    exit 0
fi
rm -f "$peers/stamp"

command -v npm >/dev/null || fail "npm is missing: apt-get install nodejs npm"
python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3 has no venv: apt-get install python3-venv"

say "installing peers into .cache/peers"
mkdir -p "$peers/node"
cp "$here/package.json" "$here/package-lock.json" "$peers/node/"
(cd "$peers/node" && twice npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    fail "npm ci failed (message above); is an npm registry reachable?"
node=$peers/node/node_modules/.bin/node
[ -x "$node" ] || fail "no Node 22 package for $(uname -s)/$(uname -m) in package.json"
case $("$node" --version) in v22.*) ;; *) fail "$node is $("$node" --version), not Node 22" ;; esac

python_env py requirements.txt
python_env py-legacy requirements-legacy.txt

echo "$stamp" >"$peers/stamp"
say "done"
