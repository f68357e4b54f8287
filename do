#!/bin/sh
# Sets up what is missing, then hands its arguments to nox.
#
#   ./do                          everything: lint, types, tests, docs
#   ./do demo                     the demonstration
#   ./do tests -- net libuv       the tests of one package on one loop
#   ./do --list                   all sessions
#
# PYTHON chooses the interpreter; else it is the first that is not too old of python3 and of the versions
# that the classifiers of packages/core name, from the newest down. Environments live in .nox, those of each
# version apart, and are reused. Each step is said in a line; what apt and pip print is in logs there, and is
# shown when they fail.
#
# Compilers and libraries are looked for only where something is to be compiled. As root on Debian and its kin
# what is missing is installed; HUBBUB_INSTALL=0 leaves the system as it is.
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

# shellcheck disable=SC2086 # $versions is a list of words
find_python() {
    for candidate in "${PYTHON:-python3}" python3 $(printf 'python%s ' $versions); do
        if fits "$candidate"; then echo "$candidate"; return; fi
    done
    say "Python $oldest or later is needed, and none of \$PYTHON, python3,$(printf ' python%s' $versions) is one."
    exit 1
}

# shellcheck disable=SC2086 # flags of the compiler are words
includes() { printf '#include <%s>\n' "$1" | $cc ${CPPFLAGS:-} -I"$headers" -E - >/dev/null 2>&1; }

# Runs a program with its output in the log; if it fails, shows that and fails likewise.
quietly() {
    begun=$(wc -l <"$log")
    printf '$ %s\n' "$*" >>"$log"
    status=0
    "$@" >>"$log" 2>&1 </dev/null || status=$?
    [ $status = 0 ] || tail -n "+$((begun + 1))" "$log" >&2
    return $status
}

# Whether the job compiles something: not if all that is wanted looks at text alone.
compiles() {
    [ $# != 0 ] || return 0
    for word in "$@"; do
        case $word in
        -- | -l | --list | -h | --help | --version) return 1 ;;
        api | lint | workflows) ;;
        *) return 0 ;;
        esac
    done
    return 1
}

# Prints the Debian names of what the job lacks.
missing() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$debian-venv"
    compiles "$@" || return 0
    includes stdlib.h || echo gcc libc6-dev
    includes Python.h || echo "$debian-dev"
    includes ev.h || echo libev-dev
    includes uv.h || echo libuv1-dev
}

# Another ./do, or whoever else installs, is waited for.
apt_get() { quietly apt-get -q -o DPkg::Lock::Timeout=300 "$@"; }

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt_get update || return
    apt_get install -y --no-install-recommends "$@" ||
        { apt_get update && apt_get install -y --no-install-recommends "$@"; }
}

# shellcheck disable=SC2086 # $wanted is a list of words
# Installs as root on Debian and its kin; elsewhere says what to install and goes on.
see_to_system_packages() {
    if [ -n "$wanted" ] && [ "${HUBBUB_INSTALL:-1}" != 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing" $wanted "(apt-get)"
        apt_install $wanted || say "apt-get failed"
        wanted=$(missing "$@")
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
    if [ "$(cat "$nox/stamp" 2>/dev/null)" != "$stamp" ]; then
        say "making $nox, which runs the sessions"
        quietly "$python" -m venv --clear "$nox"
        quietly "$nox/bin/python" -m pip install -q --no-compile --disable-pip-version-check -r requirements/nox.txt
        printf '%s\n' "$stamp" >"$nox/stamp"
    fi
}

versions=$(known_versions)
oldest=${versions##* }
python=$(find_python)
# Debian's packages for its own interpreter begin with python3, for a second one with python3.12.
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
debian=$version
case $(readlink -f /usr/bin/python3 2>/dev/null) in */"$debian") debian=python3 ;; esac
cc=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
nox=.nox/nox-$version
mkdir -p .nox
log=.nox/apt-$version.log
: >"$log"
: >"$nox.log"
wanted=$(missing "$@")
case $wanted in
'') ;;
*-venv*) see_to_system_packages "$@" ;;
*)
    # Neither needs the other.
    (log=$nox.log; see_to_nox) &
    other=$!
    trap 'kill "$other" 2>/dev/null' EXIT
    see_to_system_packages "$@"
    failed=0
    wait "$other" || failed=$?
    trap - EXIT
    [ $failed = 0 ] || exit $failed
    ;;
esac
log=$nox.log
see_to_nox

# Words before -- are sessions; options go to nox as they are.
case ${1-} in
'' | -*) ;;
*) set -- -s "$@" ;;
esac
exec "$nox/bin/python" -m nox "$@"
