// Random generators with a state that can be saved and restored.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <mutex>

#include "Handles.h"

using ctorch::generator;

namespace {
ctorch_generator owned(at::Generator value) {
  return reinterpret_cast<ctorch_generator>(new at::Generator(std::move(value)));
}
}  // namespace

ctorch_status ctorch_generator_create(uint64_t seed, int32_t device, ctorch_generator* result) {
  return ctorch::guarded([&] {
    auto place = ctorch::device(device);
    at::Generator made;
    if (place.is_cpu() || place.is_meta()) {
      made = at::detail::createCPUGenerator(seed);
    } else {
      made = at::globalContext().defaultGenerator(place).clone();
      made.set_current_seed(seed);
    }
    *result = owned(std::move(made));
  });
}

ctorch_status ctorch_generator_default(int32_t device, ctorch_generator* result) {
  return ctorch::guarded([&] {
    auto place = ctorch::device(device);
    if (place.is_meta()) place = c10::Device(c10::kCPU);
    *result = owned(at::globalContext().defaultGenerator(place));
  });
}

void ctorch_generator_release(ctorch_generator handle) {
  delete reinterpret_cast<at::Generator*>(handle);
}

ctorch_status ctorch_generator_seed(ctorch_generator handle, uint64_t seed) {
  return ctorch::guarded([&] {
    std::lock_guard<std::mutex> lock(generator(handle).mutex());
    generator(handle).set_current_seed(seed);
  });
}

ctorch_status ctorch_generator_state(ctorch_generator handle, ctorch_tensor* state) {
  return ctorch::guarded([&] {
    std::lock_guard<std::mutex> lock(generator(handle).mutex());
    *state = ctorch::owned(generator(handle).get_state());
  });
}

ctorch_status ctorch_generator_set_state(ctorch_generator handle, ctorch_tensor state) {
  return ctorch::guarded([&] {
    std::lock_guard<std::mutex> lock(generator(handle).mutex());
    generator(handle).set_state(ctorch::tensor(state));
  });
}
