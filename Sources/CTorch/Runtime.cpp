// Threads, devices, versions.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include "Handles.h"

const char* ctorch_version(void) { return TORCH_VERSION; }

int32_t ctorch_thread_count(void) { return at::get_num_threads(); }

void ctorch_set_thread_count(int32_t count) { at::set_num_threads(count); }

bool ctorch_cuda_available(void) { return at::hasCUDA(); }

bool ctorch_mps_available(void) { return at::hasMPS(); }

void ctorch_set_deterministic(bool enabled) {
  at::globalContext().setDeterministicAlgorithms(enabled, /*warn_only=*/false);
}
