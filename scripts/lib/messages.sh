# Messages of the scripts: progress to standard error, and a stop that says what to do.

say() { printf '%s\n' "$*" >&2; }

stop() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}
