# The wheel on PyPI for Linux is a CUDA build: even its CPU library is linked to a few NVIDIA
# libraries, which come in wheels of their own. Only those that something needs are fetched.

has_nvidia_gpu() { [[ -e /dev/nvidia0 || -e /dev/nvidiactl || -e /proc/driver/nvidia/version ]]; }

# needed_libraries FILE ...: the names that the loader will look for.
needed_libraries() {
  local readelf
  readelf=$(command -v readelf || command -v llvm-readelf) || stop "readelf is missing (binutils)"
  "$readelf" -d "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' | sort -u
}

# unresolved_libraries LIB: names needed by the libraries in LIB that neither LIB nor the system
# has. The driver (libcuda, libnvidia-ml) comes with the machine, never from a wheel.
unresolved_libraries() {
  local name system
  system=$({ ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | awk '{print $1}')
  for name in $(needed_libraries "$1"/*.so*); do
    [[ ! -e $1/$name && $name != libcuda.so* && $name != libnvidia-ml.so* && $name != ld-linux* ]] ||
      continue
    grep -qxF "$name" <<<"$system" || printf '%s\n' "$name"
  done
}

# requirement_providing LIBRARY REQUIREMENTS: the one of the requirements (a line each, such as
# nvidia-cuda-runtime==13.0.96) whose name belongs to the library (such as libcudart.so.13).
requirement_providing() {
  local stem
  stem=${1#lib}
  stem=$(tr '[:upper:]' '[:lower:]' <<<"${stem%%.so*}")
  case $stem in
    cudart) stem=runtime ;;
    cublaslt) stem=cublas ;;
    cudnn_*) stem=cudnn ;;
    nvtoolsext | nvtx3interop) stem=nvtx ;;
    nvshmem_host) stem=nvshmem ;;
  esac
  grep -E -- "-$stem(-cu[0-9]+)?[=<>~]" <<<"$2" | head -n 1
}

# nvidia_requirements METADATA SCRATCH: what the wheel requires of NVIDIA, as pip reads it.
# The package cuda-toolkit is only a list of further ones, which its own metadata spells out.
nvidia_requirements() {
  local line name listing
  {
    sed -n 's/^Requires-Dist: *\(nvidia-[^; ]*\).*/\1/p' "$1"
    line=$(sed -n 's/^Requires-Dist: *cuda-toolkit\[[^]]*\]\([=<>~][^; ]*\).*/\1/p' "$1" | head -n 1)
    if [[ -n $line ]]; then
      download_wheel "cuda-toolkit$line" "$2/toolkit" || stop "pip could not fetch cuda-toolkit$line"
      for listing in "$2"/toolkit/*.whl; do unpack_wheel "$listing" "$2/toolkit"; done
      sed -n 's/^Requires-Dist: *\(nvidia-[^; ]*\).*/\1/p' "$2"/toolkit/cuda_toolkit-*.dist-info/METADATA
    fi
  } | sort -u
}

# add_missing_libraries LIB METADATA: puts the NVIDIA libraries that LIB needs beside it. On a
# machine without an NVIDIA GPU the CUDA half of LibTorch goes, and with it most of the need.
add_missing_libraries() {
  local lib=$1 scratch requirements="" missing library requirement
  [[ $(uname -s) == Linux ]] || return 0
  if ! has_nvidia_gpu; then
    rm -f "$lib"/libtorch_cuda*.so "$lib"/libc10_cuda.so "$lib"/libtorch_nvshmem.so \
      "$lib"/libcaffe2_nvrtc.so
    # It only holds the two halves together; without one of them it cannot be loaded.
    needed_libraries "$lib/libtorch.so" | grep -q cuda && rm -f "$lib/libtorch.so"
  fi
  scratch=$(dirname "$lib")/nvidia
  missing=$(unresolved_libraries "$lib")
  while [[ -n $missing ]]; do
    [[ -n $requirements ]] || requirements=$(nvidia_requirements "$2" "$scratch")
    library=$(head -n 1 <<<"$missing")
    requirement=$(requirement_providing "$library" "$requirements") ||
      stop "LibTorch needs $library, which no requirement of its wheel provides"
    say "LibTorch needs $library: fetching $requirement"
    rm -rf "$scratch/wheel"
    download_wheel "$requirement" "$scratch/wheel" || stop "pip could not fetch $requirement"
    list_wheel "$scratch"/wheel/*.whl | grep -qE "/$library\$" ||
      stop "$requirement was expected to have $library, but has not"
    unpack_wheel "$(echo "$scratch"/wheel/*.whl)" "$scratch/files" '*/lib/*.so*'
    find "$scratch/files" -name '*.so*' -type f -exec mv -f {} "$lib/" \;
    rm -rf "$scratch/files"
    missing=$(unresolved_libraries "$lib")
  done
  rm -rf "$scratch"
}
