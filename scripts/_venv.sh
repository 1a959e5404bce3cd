# Sourced by the other scripts: finds Python, and makes the virtual environment that requirements.lock describes.
# Sets $ROOT (the checkout) and $VENV (the environment). Quiet when there is nothing to do.

set -euo pipefail

_self="$(readlink -f -- "${BASH_SOURCE[0]}")"
ROOT="$(dirname -- "$(dirname -- "$_self")")"
VENV="${SHORTLIST_VENV:-$ROOT/.venv}"
lock="$ROOT/requirements.lock"

_fail() {
    printf 'Error: %s\n' "$*" >&2
    exit 1
}

_find_python() {
    local candidate path
    for candidate in "${SHORTLIST_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] || continue
        path="$(command -v -- "$candidate")" || continue
        if "$path" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$path"
            return
        fi
    done
    _fail "Python 3.11 or newer is needed, with its venv module (Debian: apt install python3 python3-venv)." \
        "If it lies elsewhere, name it: SHORTLIST_PYTHON=/path/to/python3.11"
}

# What the environment was made from: the lock, the project's own metadata, and where the checkout lies.
_fingerprint() {
    { cat -- "$lock" "$ROOT/pyproject.toml"; printf '%s\n' "$ROOT"; } | sha256sum | cut -d' ' -f1
}

_install() {
    local python writable="$VENV"
    [ -r "$lock" ] || _fail "$lock is missing. Make it with scripts/lock"
    [ -d "$writable" ] || writable="$(dirname -- "$writable")"
    [ -w "$writable" ] || _fail "$writable cannot be written to. Put the environment elsewhere: SHORTLIST_VENV=/path $0"
    if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        python="$(_find_python)"
        printf 'Making a virtual environment in %s with %s\n' "$VENV" "$python" >&2
        "$python" -m venv --clear "$VENV" >&2
    fi
    printf 'Installing what requirements.lock names (once; 1.5 GB on disk, some minutes)\n' >&2
    "$VENV/bin/python" -m pip install --disable-pip-version-check --requirement "$lock" >&2
    "$VENV/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable "$ROOT" >&2
    _fingerprint > "$VENV/.shortlist-installed"
}

# Only one script installs at a time; the others wait for it and then find everything done.
if [ "$(cat -- "$VENV/.shortlist-installed" 2>/dev/null)" != "$(_fingerprint)" ]; then
    (
        if command -v flock >/dev/null && mkdir -p -- "$(dirname -- "$VENV")" 2>/dev/null && : 2>/dev/null > "$VENV.lock"; then
            exec 9> "$VENV.lock"
            flock 9
        fi
        if [ "$(cat -- "$VENV/.shortlist-installed" 2>/dev/null)" != "$(_fingerprint)" ]; then
            _install
        fi
    )
    rm -f -- "$VENV.lock"
fi
