#!/bin/sh
# Sets up what is missing, then hands its arguments to nox.
#
#   ./do                          everything: lint, types, tests, docs
#   ./do demo                     the demonstration
#   ./do tests -- net libuv       the tests of one package on one loop
#   ./do --list                   all sessions
#
# PYTHON chooses the interpreter; else it is the first that is not too old of python3 and of the versions
# that the classifiers of packages/core name, from the newest down. Environments live in .venv-nox and
# .nox and are reused.
set -eu
cd "$(dirname -- "$0")"

say() { printf '%s\n' "do: $*" >&2; }

# Prints the versions that core's classifiers name, the newest first.
known_versions() {
    found=
    while IFS= read -r line; do
        case $line in
        *'"Programming Language :: Python :: '*.*) line=${line##*:: } found="${line%%\"*} $found" ;;
        esac
    done <packages/core/pyproject.toml
    printf '%s\n' "${found% }"
}

fits() { "$1" -c "import sys; sys.exit(sys.version_info < (${oldest%%.*}, ${oldest#*.}))" >/dev/null 2>&1; }

find_python() {
    for candidate in "${PYTHON:-python3}" python3 $(printf 'python%s ' $versions); do
        if fits "$candidate"; then echo "$candidate"; return; fi
    done
    say "Python $oldest or later is needed, and none of \$PYTHON, python3,$(printf ' python%s' $versions) is one."
    exit 1
}

# shellcheck disable=SC2086 # flags of the compiler are words
includes() { printf '#include <%s>\n' "$1" | $cc ${CPPFLAGS:-} -I"$headers" -E - >/dev/null 2>&1; }

# Prints the Debian names of what is missing to build everything.
missing() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$debian-venv"
    includes stdlib.h || echo gcc libc6-dev
    includes Python.h || echo "$debian-dev"
    includes ev.h || echo libev-dev
    includes uv.h || echo libuv1-dev
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get -q update || return
    apt-get -q install -y --no-install-recommends "$@" ||
        { apt-get -q update && apt-get -q install -y --no-install-recommends "$@"; }
}

# shellcheck disable=SC2086 # $wanted is a list of words
# Installs as root on Debian and its kin; elsewhere says what to install and goes on.
see_to_system_packages() {
    wanted=$(missing)
    if [ -n "$wanted" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing" $wanted
        apt_install $wanted </dev/null >&2 || say "apt-get failed"
        wanted=$(missing)
    fi
    [ -n "$wanted" ] || return 0
    say "not found (Debian's names):" $wanted
    say "without them some native packages cannot be built. To install them:"
    say "  apt:  sudo apt-get install $debian-venv gcc libc6-dev $debian-dev libev-dev libuv1-dev"
    say "  dnf:  sudo dnf install gcc python3-devel libev-devel libuv-devel"
    say "  brew: xcode-select --install; brew install libev libuv; export CPATH=\$(brew --prefix)/include LIBRARY_PATH=\$(brew --prefix)/lib"
    case $wanted in
    *-venv*) say "cannot go on without the venv module"; exit 1 ;;
    esac
}

see_to_nox() {
    stamp=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)'; pwd; cat requirements/nox.txt)
    if [ "$(cat .venv-nox/stamp 2>/dev/null)" != "$stamp" ]; then
        say "making .venv-nox"
        "$python" -m venv --clear .venv-nox
        .venv-nox/bin/python -m pip install -q --disable-pip-version-check -r requirements/nox.txt
        printf '%s\n' "$stamp" >.venv-nox/stamp
    fi
}

versions=$(known_versions)
oldest=${versions##* }
python=$(find_python)
# Debian's packages for its own interpreter begin with python3, for a second one with python3.12.
debian=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
case $(readlink -f /usr/bin/python3 2>/dev/null) in */"$debian") debian=python3 ;; esac
cc=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
see_to_system_packages
see_to_nox

# Words before -- are sessions; options go to nox as they are.
case ${1-} in
'' | -*) ;;
*) set -- -s "$@" ;;
esac
exec .venv-nox/bin/python -m nox "$@"
