// Lifetime, shape and memory of tensors.
#include <ATen/ATen.h>

#include "Handles.h"

using ctorch::tensor;

void ctorch_release(ctorch_tensor handle) { delete reinterpret_cast<at::Tensor*>(handle); }

ctorch_tensor ctorch_retain(ctorch_tensor handle) { return ctorch::owned(tensor(handle)); }

int32_t ctorch_dim(ctorch_tensor handle) { return static_cast<int32_t>(tensor(handle).dim()); }

void ctorch_sizes(ctorch_tensor handle, int64_t* sizes) {
  auto values = tensor(handle).sizes();
  std::copy(values.begin(), values.end(), sizes);
}

void ctorch_strides(ctorch_tensor handle, int64_t* strides) {
  auto values = tensor(handle).strides();
  std::copy(values.begin(), values.end(), strides);
}

int64_t ctorch_element_count(ctorch_tensor handle) { return tensor(handle).numel(); }

int32_t ctorch_dtype(ctorch_tensor handle) {
  return static_cast<int32_t>(tensor(handle).scalar_type());
}

int32_t ctorch_device(ctorch_tensor handle) { return ctorch::deviceCode(tensor(handle).device()); }

bool ctorch_is_contiguous(ctorch_tensor handle) { return tensor(handle).is_contiguous(); }

ctorch_status ctorch_cpu_data(ctorch_tensor handle, void** data) {
  return ctorch::guarded([&] {
    const at::Tensor& value = tensor(handle);
    TORCH_CHECK(value.device().is_cpu(), "the elements of a tensor on ", value.device(),
                " cannot be reached as CPU memory");
    *data = value.data_ptr();
  });
}

bool ctorch_shares_storage(ctorch_tensor left, ctorch_tensor right) {
  return tensor(left).is_alias_of(tensor(right));
}

ctorch_status ctorch_from_memory(void* data, const int64_t* sizes, int32_t dimensions,
                                 int32_t dtype, void* context, void (*release)(void*),
                                 ctorch_tensor* result) {
  return ctorch::guarded([&] {
    auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
    auto shape = at::IntArrayRef(sizes, dimensions);
    if (release == nullptr) {
      *result = ctorch::owned(at::from_blob(data, shape, options));
    } else {
      *result = ctorch::owned(
          at::from_blob(data, shape, [context, release](void*) { release(context); }, options));
    }
  });
}
