// Threads, devices, versions.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <torch/version.h>

#include "Handles.h"

const char* ctorch_version(void) { return TORCH_VERSION; }

int32_t ctorch_thread_count(void) { return at::get_num_threads(); }

void ctorch_set_thread_count(int32_t count) { at::set_num_threads(count); }

void ctorch_parallel_for(int64_t begin, int64_t end, int64_t grain, void* context,
                         void (*body)(void* context, int64_t begin, int64_t end)) {
  if (begin >= end) return;
  if (end - begin <= grain || at::get_num_threads() == 1) return body(context, begin, end);
  // at::parallel_for is a template that does everything on one thread where it is compiled without
  // OpenMP, for which SwiftPM has no flag. The iterator's loop is compiled inside LibTorch: it goes
  // over a byte for each number of the range, whose address tells the number.
  at::Tensor places = at::empty({end - begin}, at::kByte);
  const char* start = static_cast<const char*>(places.const_data_ptr());
  auto iterator = at::TensorIterator::borrowing_nullary_op(places);
  iterator.for_each(
      [&](char** data, const int64_t*, int64_t count) {
        const int64_t first = begin + (data[0] - start);
        body(context, first, first + count);
      },
      grain);
}

bool ctorch_cuda_available(void) { return at::hasCUDA(); }

bool ctorch_mps_available(void) { return at::hasMPS(); }

void ctorch_set_deterministic(bool enabled) {
  at::globalContext().setDeterministicAlgorithms(enabled, /*warn_only=*/false);
}
