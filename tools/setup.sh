#!/usr/bin/env bash
# Makes a fresh Debian 12 or 13 machine able to run `make lab` or `make test`: installs what is missing with apt and
# fills a virtual environment from a lock file. What is there is left as it is; a second run takes a second.
#
#   tools/setup.sh controller|dev
set -euo pipefail
cd "$(dirname "$0")/.."

lock=${1:?usage: tools/setup.sh controller|dev}
venv=.venv

fail() {
    echo "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "'$*' needs root: run this as root, or install sudo"
    fi
}

missing_packages() {
    python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || echo python3-venv
    command -v ssh >/dev/null || echo openssh-client
    if [ "$lock" = dev ]; then # the tests build the stand-in for NVML, look into it, start a PostgreSQL, and type into a terminal
        command -v cc >/dev/null && command -v readelf >/dev/null || echo gcc libc6-dev binutils
        compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || echo postgresql
        command -v tmux >/dev/null || echo tmux
        command -v git >/dev/null || echo git
    fi
    command -v mmdebstrap >/dev/null || echo mmdebstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
    if command -v podman >/dev/null; then
        :
    elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        return
    else
        echo podman uidmap
    fi
    command -v runc >/dev/null || echo runc
    command -v iptables >/dev/null || echo iptables
    # podman 4 of Debian 12 makes its networks with CNI; later ones with netavark
    if [ ! -e /usr/lib/podman/netavark ] && [ ! -e /usr/lib/cni/bridge ]; then
        if grep -q 'VERSION_ID="12"' /etc/os-release; then echo containernetworking-plugins; else echo netavark; fi
    fi
}

install_packages() {
    local missing tries
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "${missing// /}" ] || return 0
    command -v apt-get >/dev/null || fail "this machine lacks: $missing; install them with its package manager"
    echo "setup: installing $missing" >&2
    for tries in 1 2 3; do
        # shellcheck disable=SC2086 # a list of package names
        if as_root apt-get -qq update >&2 && as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install --yes --no-install-recommends $missing >&2; then
            return 0
        fi
        sleep $((tries * 3))
    done
    fail "apt-get could not install $missing: is the package mirror in reach?"
}

fill_environment() {
    local stamp
    stamp="$venv/.$lock-$(cat "requirements/$lock.txt" pyproject.toml | sha256sum | cut -c1-16)"
    [ -e "$stamp" ] && return 0
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || fail "python3 -m venv $venv failed: remove $venv and try again"
    echo "setup: installing the locked packages ($lock) into $venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "requirements/$lock.txt" >&2 ||
        fail "pip could not install requirements/$lock.txt: is the package index in reach?"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --editable . >&2 || fail "pip install -e . failed"
    # Where PYTHONDONTWRITEBYTECODE is set pip compiles nothing, and every start of the screen or of Ansible would do it again.
    "$venv/bin/python" -m compileall -q -j 0 "$venv/lib" >&2 || true # a package may carry a file of another Python's
    touch "$stamp"
}

# Tests check the alert rules with promtool. It is taken out of Debian's package, since installing that would start a Prometheus.
fetch_promtool() {
    local folder
    [ "$lock" != dev ] || [ -x "$venv/bin/promtool" ] && return 0
    echo "setup: fetching promtool" >&2
    folder=$(mktemp -d)
    (cd "$folder" && { apt-get -qq download prometheus || { as_root apt-get -qq update && apt-get -qq download prometheus; }; }) >&2 2>/dev/null ||
        fail "apt-get could not download the package prometheus: is the package mirror in reach?"
    dpkg-deb --extract "$folder"/prometheus_*.deb "$folder" && mv "$folder/usr/bin/promtool" "$venv/bin/promtool"
    rm -rf "$folder"
}

[ -e "requirements/$lock.txt" ] || fail "there is no requirements/$lock.txt"
install_packages
fill_environment
fetch_promtool
