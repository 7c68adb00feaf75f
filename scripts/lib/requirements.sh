# What must be on the machine before LibTorch: Swift 6, a few C libraries, a few tools.

require_swift() {
  local version
  command -v swift >/dev/null 2>&1 ||
    stop "Swift is not installed or not on PATH. Install Swift 6 or later: https://www.swift.org/install"
  version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9]*\)\..*/\1/p' | head -n 1)
  [[ -n $version ]] || stop "'swift --version' gives no version; is the toolchain complete?"
  ((version >= 6)) ||
    stop "Swift 6 or later is needed, found $version. Install it: https://www.swift.org/install"
}

# Prints the path of the toolchain's clang, or of the one on PATH.
find_clang() {
  local beside
  beside=$(dirname "$(readlink -f "$(command -v swift)")")/clang
  if [[ -x $beside ]]; then printf '%s\n' "$beside"; else command -v clang; fi
}

# A library is missing when its header is; a tool is missing when it is not on PATH.
# So a system without Debian packages that has the libraries passes.
missing_debian_packages() {
  local clang pair header tool
  clang=$(find_clang) || stop "no clang beside swift nor on PATH; is the Swift toolchain complete?"
  for pair in pcre2.h=libpcre2-dev simdjson.h=libsimdjson-dev yaml.h=libyaml-dev \
    openssl/evp.h=libssl-dev gloo/config.h=libgloo-dev; do
    header=${pair%%=*}
    printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$header" |
      "$clang" -E -x c - -o /dev/null 2>/dev/null || printf '%s\n' "${pair#*=}"
  done
  for pair in pkg-config=pkg-config unzip=unzip make=make git=git readelf=binutils; do
    tool=${pair%%=*}
    [[ $tool == readelf && $(uname -s) == Darwin ]] && continue
    command -v "$tool" >/dev/null 2>&1 || printf '%s\n' "${pair#*=}"
  done
  if [[ $(uname -s) == Linux && ! -e /etc/ssl/certs/ca-certificates.crt &&
    ! -e /etc/pki/tls/certs/ca-bundle.crt && ! -e /etc/ssl/cert.pem ]]; then
    printf 'ca-certificates\n'
  fi
}

# require_system_libraries HOME MODE: pip is asked for together with the rest, so that who is not
# root has one line to type; and only where a wheel will be fetched.
require_system_libraries() {
  local missing
  missing=$(
    missing_debian_packages
    if needs_wheel "$@" && ! find_pip >/dev/null; then printf 'python3-pip\n'; fi
  )
  # shellcheck disable=SC2086
  [[ -z $missing ]] || install_debian_packages $missing
}

# Installs packages when run as root on a Debian system; otherwise says what to type and stops.
install_debian_packages() {
  if ! command -v apt-get >/dev/null 2>&1; then
    stop "missing: $* (Debian names). Install what provides them with your package manager" \
      "and run scripts/bootstrap again."
  fi
  if ((EUID != 0)); then
    stop "missing packages. Type this, then the same command again:"$'\n' \
      " sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
  fi
  say "Installing $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y --no-install-recommends "$@" </dev/null >&2 ||
    { apt-get update >&2 && apt-get install -y --no-install-recommends "$@" </dev/null >&2; } ||
    stop "apt-get could not install: $*"
}
