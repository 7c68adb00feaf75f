// Conversions between C handles and LibTorch's C++ types, and the guard that turns exceptions into
// a status. Private to this target.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <exception>

#include "CTorch.h"

namespace ctorch {

inline at::Tensor& tensor(ctorch_tensor handle) {
  return *reinterpret_cast<at::Tensor*>(handle);
}

inline at::Tensor optionalTensor(ctorch_tensor handle) {
  return handle == nullptr ? at::Tensor() : tensor(handle);
}

inline ctorch_tensor owned(at::Tensor value) {
  return reinterpret_cast<ctorch_tensor>(new at::Tensor(std::move(value)));
}

inline ctorch_tensor ownedOrNull(at::Tensor value) {
  return value.defined() ? owned(std::move(value)) : nullptr;
}

inline at::Generator& generator(ctorch_generator handle) {
  return *reinterpret_cast<at::Generator*>(handle);
}

inline int32_t deviceCode(c10::Device device) {
  return static_cast<int32_t>(device.type()) << 8 | (device.index() + 1);
}

inline c10::Device device(int64_t code) {
  return c10::Device(static_cast<c10::DeviceType>(code >> 8),
                     static_cast<c10::DeviceIndex>((code & 0xff) - 1));
}

void setError(const std::exception& error);
void setUnknownError();

// Runs `body`; an exception becomes status 1 with its message kept for ctorch_last_error().
template <typename Body>
ctorch_status guarded(Body&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    setError(error);
  } catch (...) {
    setUnknownError();
  }
  return 1;
}

}  // namespace ctorch
