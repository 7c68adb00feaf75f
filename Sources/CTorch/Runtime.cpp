// Threads, devices, versions.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include "Handles.h"

const char* ctorch_version(void) { return TORCH_VERSION; }

int32_t ctorch_thread_count(void) { return at::get_num_threads(); }

void ctorch_set_thread_count(int32_t count) { at::set_num_threads(count); }

void ctorch_parallel_for(int64_t begin, int64_t end, int64_t grain, void* context,
                         void (*body)(void* context, int64_t begin, int64_t end)) {
  at::parallel_for(begin, end, grain,
                   [&](int64_t first, int64_t last) { body(context, first, last); });
}

bool ctorch_cuda_available(void) { return at::hasCUDA(); }

bool ctorch_mps_available(void) { return at::hasMPS(); }

void ctorch_set_deterministic(bool enabled) {
  at::globalContext().setDeterministicAlgorithms(enabled, /*warn_only=*/false);
}
