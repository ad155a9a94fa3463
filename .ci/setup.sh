# Sourced by tests/run and examples/run_digits, which work on a bare machine: finds a compiler, makes the virtual
# environment .venv and installs into it what builds the package. `install_package DIR EXTRAS [DEFINE ...]` builds and
# installs the package; objects are kept in the build folder DIR, so a second run compiles only what has changed.
set -euo pipefail

stop() {
  printf '%s\n' "$@" >&2
  exit 1
}

compiles_cxx20() {
  command -v "${1%% *}" >/dev/null || return 1
  local folder rc=0
  folder=$(mktemp -d)
  printf '%s\n' '#include <concepts>' '#include <source_location>' '#include <iostream>' \
    'template <std::integral T> T twice(T x) { return x + x; }' \
    'int main() { return twice(std::source_location::current().line()) > 0 ? 0 : 1; }' >"$folder/probe.cpp"
  # shellcheck disable=SC2086
  $1 -std=c++20 "$folder/probe.cpp" -o "$folder/probe" >/dev/null 2>&1 || rc=1
  rm -r "$folder"
  return $rc
}

find_compiler() {
  local candidate
  for candidate in ${CXX:+"$CXX"} c++ g++ clang++ g++-{15..11} clang++-{21..16}; do
    if compiles_cxx20 "$candidate"; then
      export CXX=$candidate
      return
    fi
  done
  stop "No C++20 compiler found (such as g++ 12). On Debian or Ubuntu:" "    apt-get install g++"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.{14..10} python; do
    command -v "$candidate" >/dev/null || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
    PYTHON=$(command -v "$candidate")
    return
  done
  stop "No Python 3.10 or newer found. On Debian or Ubuntu:" "    apt-get install python3 python3-venv python3-dev"
}

make_environment() {
  find_python
  local version
  version=$("$PYTHON" -c 'import sys; print("python3.%d" % sys.version_info.minor)')
  "$PYTHON" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    stop "Python's headers (Python.h) are missing. On Debian or Ubuntu:" "    apt-get install $version-dev"
  if ! [ -x .venv/bin/pip ]; then
    "$PYTHON" -m venv --clear .venv ||
      stop "$PYTHON cannot make virtual environments. On Debian or Ubuntu:" "    apt-get install $version-venv"
  fi
  export PATH="$PWD/.venv/bin:$PATH" VIRTUAL_ENV="$PWD/.venv"
  unset PYTHONPATH PYTHONHOME
  python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
  python -m pip install --quiet --group build
}

# Without build isolation: the paths of the build tools stay the same, and with them every object that can be reused.
install_package() {
  local folder=$1 extras=$2 define
  shift 2
  local settings=()
  for define in "$@"; do settings+=("--config-settings=cmake.define.$define"); done
  CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)} python -m pip install --quiet \
    --no-build-isolation --config-settings="build-dir=$folder" "${settings[@]}" ".[$extras]"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
find_compiler
make_environment
