# LibTorch: where it comes from, and the files through which SwiftPM links it.
#
# SwiftPM lets a package pass -I, -L and -l to the compiler and linker, and nothing else, if other
# packages shall be able to depend on it. An rpath is "something else". So the -L directory holds
# stub libraries that define the symbols of the real ones and carry the real ones' absolute path as
# their soname: the linker records that path, and a program finds LibTorch without any rpath.

torch_version=2.13.0

library_suffix() { if [[ $(uname -s) == Darwin ]]; then echo dylib; else echo so; fi; }

has_libtorch() { [[ -e $1/lib/libtorch_cpu.$(library_suffix) && -e $1/include/ATen/ATen.h ]]; }

libtorch_version() {
  sed -n 's/^[^"]*"\([0-9]*\.[0-9]*\.[0-9][^"]*\)".*/\1/p' \
    "$1/include/torch/headeronly/version.h" 2>/dev/null | head -n 1
}

# Without LIBTORCH an earlier choice is kept, whatever it was.
keeps_libtorch() { [[ $2 == keep && -L $1/link/libtorch ]] && has_libtorch "$1/link/libtorch"; }

# needs_wheel HOME MODE: whether choose_libtorch will fetch the wheel.
needs_wheel() {
  [[ -z ${LIBTORCH:-} ]] && ! keeps_libtorch "$1" "$2" &&
    { [[ $2 == reinstall ]] || ! has_libtorch "$1/libtorch-$torch_version"; }
}

# choose_libtorch HOME MODE: prints the directory to use and makes sure that it is complete.
choose_libtorch() {
  local home=$1 mode=$2 installed=$1/libtorch-$torch_version chosen=""
  if [[ -n ${LIBTORCH:-} ]]; then
    [[ -d $LIBTORCH ]] || stop "LIBTORCH=$LIBTORCH is not a directory"
    chosen=$(absolute_directory "$LIBTORCH")
    has_libtorch "$chosen" ||
      stop "LIBTORCH=$LIBTORCH has no lib/libtorch_cpu.$(library_suffix) and include/ATen/ATen.h"
    [[ $(libtorch_version "$chosen") == "$torch_version"* ]] ||
      say "warning: $chosen is LibTorch $(libtorch_version "$chosen"); Graft is tested with $torch_version"
  elif keeps_libtorch "$home" "$mode"; then
    chosen=$(readlink "$home/link/libtorch")
  else
    if needs_wheel "$home" "$mode"; then install_wheel "$installed" "$mode"; fi
    chosen=$installed
  fi
  [[ $chosen != *[\"\'\\\$\`,]* && $chosen != *$'\n'* ]] ||
    stop "the path '$chosen' has a character that linkers or pkg-config cannot take; set GRAFT_HOME to another one"
  printf '%s\n' "$chosen"
}

# install_wheel DIRECTORY MODE: unpacks into a sibling that is renamed at the end, so that an
# interrupted run leaves nothing that looks complete, and a failed --reinstall what was there.
install_wheel() {
  local destination=$1 partial wheel
  mkdir -p "$(dirname "$destination")"
  find "$(dirname "$destination")" -maxdepth 1 -name '.partial.*' -mmin +360 -exec rm -rf {} +
  partial=$(mktemp -d "$(dirname "$destination")/.partial.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$partial'" EXIT
  say "Fetching the wheel torch==$torch_version (C++ files only; nothing is installed into Python)"
  download_wheel "torch==$torch_version" "$partial/wheel" ||
    stop "pip could not fetch torch==$torch_version. With a LibTorch of your own: LIBTORCH=DIR scripts/bootstrap"
  wheel=$(echo "$partial"/wheel/torch-*.whl)
  say "Unpacking $(basename "$wheel")"
  unpack_wheel "$wheel" "$partial/files" 'torch/lib/*' 'torch/include/*' 'torch/share/*' \
    'torch-*.dist-info/METADATA' 'torch-*.dist-info/*LICENSE*' 2>/dev/null ||
    stop "could not unpack $(basename "$wheel"); is the disk full? $(df -h "$partial" | tail -n 1)"
  rm -rf "$partial/wheel"
  rm -f "$partial"/files/torch/lib/libtorch_python.* "$partial"/files/torch/lib/*_test.* \
    "$partial"/files/torch/lib/libbackend_with_compiler.*
  rm -rf "$partial/files/torch/include/pybind11"
  add_missing_libraries "$partial/files/torch/lib" "$partial"/files/torch-*.dist-info/METADATA
  mkdir "$partial/result"
  mv "$partial"/files/torch/{lib,include} "$partial/result/"
  [[ ! -d $partial/files/torch/share ]] || mv "$partial/files/torch/share" "$partial/result/"
  mv "$partial"/files/torch-*.dist-info "$partial/result/wheel-metadata"
  has_libtorch "$partial/result" || stop "the wheel has no LibTorch in it"
  [[ $2 != reinstall ]] || rm -rf "$destination"
  if ! mv -T "$partial/result" "$destination" 2>/dev/null && ! has_libtorch "$destination"; then
    rm -rf "$destination" && mv "$partial/result" "$destination"
  fi
  rm -rf "$partial"
  trap - EXIT
}

# The libraries whose symbols a program is linked to.
linked_libraries="torch_cpu c10"

link_stamp() {
  local suffix
  suffix=$(library_suffix)
  printf '1 %s\n' "$2"
  for library in $linked_libraries; do
    find "$2/lib/lib$library.$suffix" -follow -printf '%f %s %T@\n' 2>/dev/null ||
      stat -f '%N %z %m' "$2/lib/lib$library.$suffix"
  done
}

link_files_are_current() {
  [[ -e $1/link/stamp && -e $1/pkgconfig/graft-libtorch.pc ]] &&
    [[ "$(cat "$1/link/stamp")" == "$(link_stamp "$1" "$2")" ]]
}

mark_link_files_current() { link_stamp "$1" "$2" >"$1/link/stamp"; }

# write_link_files HOME LIBTORCH: the stubs and graft-libtorch.pc.
write_link_files() {
  local home=$1 libtorch=$2 suffix library escaped_home escaped_libtorch
  suffix=$(library_suffix)
  mkdir -p "$home/link" "$home/pkgconfig"
  rm -f "$home/link/stamp"
  ln -sfn "$libtorch" "$home/link/libtorch"
  for library in $linked_libraries; do
    say "Writing the link-time stub of lib$library.$suffix"
    "$root/scripts/link-stub" "$libtorch/lib/lib$library.$suffix" \
      "$home/link/lib$library.$suffix.$$"
    mv "$home/link/lib$library.$suffix.$$" "$home/link/lib$library.$suffix"
  done
  escaped_home=${home// /\\ }
  escaped_libtorch=${libtorch// /\\ }
  cat >"$home/pkgconfig/graft-libtorch.pc.$$" <<END
Name: graft-libtorch
Description: LibTorch for Graft; written by scripts/bootstrap
Version: $torch_version
Cflags: -I$escaped_libtorch/include -I$escaped_libtorch/include/torch/csrc/api/include
Libs: -L$escaped_home/link -ltorch_cpu -lc10
END
  mv "$home/pkgconfig/graft-libtorch.pc.$$" "$home/pkgconfig/graft-libtorch.pc"
}

# check_link_files HOME LIBTORCH: a small program is compiled, linked and run.
check_link_files() {
  local home=$1 work flags
  say "Checking that a program with LibTorch compiles and runs"
  work=$(mktemp -d)
  flags=$(PKG_CONFIG_PATH=$home/pkgconfig pkg-config --cflags --libs graft-libtorch)
  cat >"$work/check.cpp" <<'END'
#include <ATen/ops/ones.h>
#include <ATen/core/Tensor.h>
#include <cstdio>
int main() { std::printf("%g\n", at::ones({2, 3}).sum().item<double>()); }
END
  eval "\"$(find_clang)++\" -std=c++20 \"$work/check.cpp\" -o \"$work/check\" $flags" ||
    stop "a program with LibTorch does not compile; see the messages above (is libstdc++-dev installed?)"
  [[ "$("$work/check")" == 6 ]] || stop "a program with LibTorch does not run; ldd says: $(ldd "$work/check")"
  rm -rf "$work"
}
