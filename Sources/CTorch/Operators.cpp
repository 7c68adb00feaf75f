// The gateway to LibTorch's operators: values to IValues, a boxed call, IValues back to values.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <vector>

#include "Handles.h"

namespace {

using ctorch::tensor;

c10::IValue optionalTensorList(const ctorch_value& value) {
  auto handles = static_cast<const ctorch_tensor*>(value.pointer);
  c10::List<std::optional<at::Tensor>> list;
  list.reserve(value.count);
  for (int32_t i = 0; i < value.count; ++i) {
    list.push_back(handles[i] == nullptr ? std::optional<at::Tensor>()
                                         : std::optional<at::Tensor>(tensor(handles[i])));
  }
  return list;
}

c10::IValue tensorList(const ctorch_value& value) {
  auto handles = static_cast<const ctorch_tensor*>(value.pointer);
  c10::List<at::Tensor> list;
  list.reserve(value.count);
  for (int32_t i = 0; i < value.count; ++i) list.push_back(tensor(handles[i]));
  return list;
}

template <typename Element, typename Source>
c10::IValue numberList(const ctorch_value& value) {
  auto elements = static_cast<const Source*>(value.pointer);
  c10::List<Element> list;
  list.reserve(value.count);
  for (int32_t i = 0; i < value.count; ++i) list.push_back(static_cast<Element>(elements[i]));
  return list;
}

c10::IValue toIValue(const ctorch_value& value) {
  switch (value.tag) {
    case CTORCH_NONE:
      return c10::IValue();
    case CTORCH_TENSOR:
      return value.pointer == nullptr
                 ? c10::IValue()
                 : c10::IValue(tensor(static_cast<ctorch_tensor>(const_cast<void*>(value.pointer))));
    case CTORCH_INT:
      return value.integer;
    case CTORCH_DOUBLE:
      return value.real;
    case CTORCH_BOOL:
      return value.integer != 0;
    case CTORCH_STRING:
      return std::string(static_cast<const char*>(value.pointer));
    case CTORCH_INT_LIST:
      return numberList<int64_t, int64_t>(value);
    case CTORCH_DOUBLE_LIST:
      return numberList<double, double>(value);
    case CTORCH_BOOL_LIST:
      return numberList<bool, uint8_t>(value);
    case CTORCH_OPTIONAL_NUMBER_LIST:
      return numberList<std::optional<c10::Scalar>, double>(value);
    case CTORCH_TENSOR_LIST:
      return tensorList(value);
    case CTORCH_OPTIONAL_TENSOR_LIST:
      return optionalTensorList(value);
    case CTORCH_DEVICE:
      return ctorch::device(value.integer);
    case CTORCH_GENERATOR:
      return ctorch::generator(static_cast<ctorch_generator>(const_cast<void*>(value.pointer)));
    default:
      TORCH_CHECK(false, "unknown value tag ", value.tag);
  }
}

// Collects results; on overflow or an unsupported type releases what it had made.
class OutputWriter {
 public:
  OutputWriter(ctorch_value* outputs, int32_t room) : outputs_(outputs), room_(room) {}

  void write(const c10::IValue& value) {
    if (value.isTensor()) {
      auto handle = ctorch::ownedOrNull(value.toTensor());
      ctorch_value& slot = next(CTORCH_TENSOR);
      slot.pointer = handle;
    } else if (value.isTensorList()) {
      for (const at::Tensor& element : value.toTensorVector()) write(element);
    } else if (value.isInt()) {
      next(CTORCH_INT).integer = value.toInt();
    } else if (value.isDouble()) {
      next(CTORCH_DOUBLE).real = value.toDouble();
    } else if (value.isBool()) {
      next(CTORCH_BOOL).integer = value.toBool();
    } else if (value.isNone()) {
      next(CTORCH_NONE);
    } else {
      TORCH_CHECK(false, "a result of type ", value.tagKind(), " cannot be passed on");
    }
  }

  void abandon() {
    for (int32_t i = 0; i < count_; ++i) {
      if (outputs_[i].tag == CTORCH_TENSOR && outputs_[i].pointer != nullptr) {
        ctorch_release(static_cast<ctorch_tensor>(const_cast<void*>(outputs_[i].pointer)));
      }
    }
  }

  int32_t count() const { return count_; }

 private:
  ctorch_value& next(int32_t tag) {
    TORCH_CHECK(count_ < room_, "more results than the caller has room for (", room_, ")");
    ctorch_value& slot = outputs_[count_++];
    slot = ctorch_value{};
    slot.tag = tag;
    return slot;
  }

  ctorch_value* outputs_;
  int32_t room_;
  int32_t count_ = 0;
};

const c10::OperatorHandle& handle(ctorch_operator operation) {
  return *reinterpret_cast<const c10::OperatorHandle*>(operation);
}

}  // namespace

ctorch_status ctorch_find_operator(const char* name, const char* overload,
                                   ctorch_operator* result) {
  return ctorch::guarded([&] {
    auto found = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    *result = reinterpret_cast<ctorch_operator>(new c10::OperatorHandle(found));
  });
}

ctorch_status ctorch_call(ctorch_operator operation, const ctorch_value* arguments,
                          int32_t argument_count, ctorch_value* outputs, int32_t* output_count) {
  return ctorch::guarded([&] {
    const auto& op = handle(operation);
    const auto& schema = op.schema();
    const auto& declared = schema.arguments();
    TORCH_CHECK(static_cast<size_t>(argument_count) <= declared.size(), schema.name(), " takes ",
                declared.size(), " arguments, got ", argument_count);
    torch::jit::Stack stack;
    stack.reserve(declared.size());
    for (int32_t i = 0; i < argument_count; ++i) {
      // An empty list carries no element type of its own: let the schema's default or type decide.
      stack.push_back(toIValue(arguments[i]));
    }
    for (size_t i = argument_count; i < declared.size(); ++i) {
      const auto& value = declared[i].default_value();
      TORCH_CHECK(value.has_value(), schema.name(), " needs the argument '", declared[i].name(),
                  "'");
      stack.push_back(*value);
    }
    op.callBoxed(&stack);
    OutputWriter writer(outputs, *output_count);
    try {
      for (const auto& value : stack) writer.write(value);
    } catch (...) {
      writer.abandon();
      throw;
    }
    *output_count = writer.count();
  });
}
