# The per-user directory that all checkouts share. Package.swift computes the same path.

# Prints the directory as an absolute path; it need not exist yet.
graft_home() {
  local home
  home=${GRAFT_HOME:-${XDG_DATA_HOME:-${HOME:-$(cd ~ && pwd)}/.local/share}/graft}
  [[ $home == /* ]] || stop "GRAFT_HOME must be an absolute path, found '$home'"
  # The name of a pkg-config file in Package.swift; SwiftPM takes a space for the start of another.
  [[ $home != *[[:space:]]* ]] || stop "'$home' has a space; set GRAFT_HOME to a directory without"
  printf '%s\n' "${home%/}"
}

# Prints `realpath`'s answer on systems that have none (older macOS).
absolute_directory() { (cd "$1" && pwd -P); }
