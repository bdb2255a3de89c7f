# Python environments for the scripts beside it; sourced, not run.
set -euo pipefail
unset CDPATH # with it, cd looks for folders of these names elsewhere first
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUTF8=1

# python_is COMMAND [MINOR]: can COMMAND run, as Python 3.MINOR, or as 3.11 or newer?
python_is() {
  "$1" -c "import sys, venv, ensurepip; v = sys.version_info; sys.exit(not (v[:2] == (3, ${2:-0}) if ${2:-0} else v >= (3, 11)))" 2>/dev/null
}

# find_python [MINOR]: print a command for Python 3.MINOR, or for any that is new enough; fails when there is none.
find_python() {
  local candidate minor=${1:-}
  for candidate in "${PYTHON:-python3}" python3 python3.13 python3.12 python3.11 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python; do
    if command -v "$candidate" >/dev/null && python_is "$candidate" "$minor"; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

# need_python: like find_python, and says what is missing; a PYTHON that was asked for is not replaced by another.
need_python() {
  if [[ -n ${PYTHON:-} ]] && ! python_is "$PYTHON"; then
    echo "PYTHON is '$PYTHON'; wanted is Python 3.11 or newer, with venv." >&2
    return 1
  fi
  find_python || {
    echo "Python 3.11 or newer with venv is needed (Debian: apt-get install python3-venv). Set PYTHON to use another." >&2
    return 1
  }
}

# environment DIR PYTHON PIP-ARGUMENTS...: make DIR hold what the arguments install; does nothing when it does already.
environment() {
  local dir=$1 python=$2 wanted
  shift 2
  wanted=$(cat pyproject.toml constraints.txt scripts/_environment.sh <(echo "$PWD $*" && "$python" -V) | cksum)
  if [[ -x $dir/bin/python && -f $dir/installed && $(<"$dir/installed") == "$wanted" ]]; then
    return
  fi
  echo "installing into $dir"
  rm -rf "$dir"
  "$python" -m venv "$dir"
  "$dir/bin/python" -m pip install -qq --constraint constraints.txt --upgrade pip
  "$dir/bin/python" -m pip install -qq --constraint constraints.txt "$@"
  echo "$wanted" >"$dir/installed"
}
