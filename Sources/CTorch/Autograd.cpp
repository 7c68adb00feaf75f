// Gradient mode, gradients, and nodes whose derivative the caller supplies.
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <vector>

#include "Handles.h"

using ctorch::tensor;

namespace {

std::vector<at::Tensor> tensors(const ctorch_tensor* handles, int32_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (int32_t i = 0; i < count; ++i) result.push_back(ctorch::optionalTensor(handles[i]));
  return result;
}

// A node of the autograd graph that calls back into the owner of `context`.
class PullbackNode : public torch::autograd::Node {
 public:
  PullbackNode(std::string name, ctorch_pullback pullback, void* context,
               void (*release)(void*), int32_t inputCount)
      : name_(std::move(name)),
        pullback_(pullback),
        context_(context),
        release_(release),
        inputCount_(inputCount) {}

  ~PullbackNode() override { drop(); }

  std::string name() const override { return name_; }

  // Called once the graph is no longer needed: frees what the pullback keeps alive.
  void release_variables() override { drop(); }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    TORCH_CHECK(context_ != nullptr, name_,
                ": the graph was freed by an earlier backward; keep it to go through it twice");
    // The engine may hand over undefined tensors; null stands for them on the other side.
    std::vector<ctorch_tensor> handles(gradients.size());
    for (size_t i = 0; i < gradients.size(); ++i) {
      handles[i] = gradients[i].defined()
                       ? reinterpret_cast<ctorch_tensor>(&gradients[i])
                       : nullptr;
    }
    std::vector<ctorch_tensor> results(inputCount_, nullptr);
    auto status = pullback_(context_, handles.data(), static_cast<int32_t>(handles.size()),
                            results.data(), inputCount_);
    torch::autograd::variable_list output(inputCount_);
    for (int32_t i = 0; i < inputCount_; ++i) {
      if (results[i] == nullptr) continue;
      output[i] = std::move(tensor(results[i]));
      ctorch_release(results[i]);
    }
    TORCH_CHECK(status == 0, name_, ": ", ctorch_last_error());
    return output;
  }

 private:
  void drop() {
    if (context_ == nullptr) return;
    auto context = context_;
    context_ = nullptr;
    release_(context);
  }

  std::string name_;
  ctorch_pullback pullback_;
  void* context_;
  void (*release_)(void*);
  int32_t inputCount_;
};

}  // namespace

bool ctorch_gradient_mode(void) { return at::GradMode::is_enabled(); }

void ctorch_set_gradient_mode(bool enabled) { at::GradMode::set_enabled(enabled); }

bool ctorch_requires_gradient(ctorch_tensor handle) { return tensor(handle).requires_grad(); }

ctorch_status ctorch_set_requires_gradient(ctorch_tensor handle, bool value) {
  return ctorch::guarded([&] { tensor(handle).set_requires_grad(value); });
}

bool ctorch_is_leaf(ctorch_tensor handle) { return tensor(handle).is_leaf(); }

ctorch_tensor ctorch_gradient(ctorch_tensor handle) {
  return ctorch::ownedOrNull(tensor(handle).grad());
}

ctorch_status ctorch_set_gradient(ctorch_tensor handle, ctorch_tensor gradient) {
  return ctorch::guarded([&] { tensor(handle).mutable_grad() = ctorch::optionalTensor(gradient); });
}

ctorch_status ctorch_backward(const ctorch_tensor* roots, const ctorch_tensor* gradients,
                              int32_t count, bool keep_graph) {
  return ctorch::guarded([&] {
    torch::autograd::backward(tensors(roots, count), tensors(gradients, count), keep_graph, false);
  });
}

ctorch_status ctorch_gradients(const ctorch_tensor* outputs, const ctorch_tensor* output_gradients,
                               int32_t output_count, const ctorch_tensor* inputs,
                               int32_t input_count, bool keep_graph, bool create_graph,
                               ctorch_tensor* results) {
  return ctorch::guarded([&] {
    auto found = torch::autograd::grad(
        tensors(outputs, output_count), tensors(inputs, input_count),
        tensors(output_gradients, output_count), keep_graph, create_graph, /*allow_unused=*/true);
    for (int32_t i = 0; i < input_count; ++i) results[i] = ctorch::ownedOrNull(found[i]);
  });
}

ctorch_status ctorch_attach_pullback(const char* name, const ctorch_tensor* inputs,
                                     int32_t input_count, const ctorch_tensor* outputs,
                                     int32_t output_count, ctorch_pullback pullback, void* context,
                                     void (*release)(void*), ctorch_tensor* results) {
  // From here on the node owns the context, whatever happens.
  auto node = c10::make_intrusive<PullbackNode>(name, pullback, context, release, input_count);
  return ctorch::guarded([&] {
    auto inputTensors = tensors(inputs, input_count);
    node->set_next_edges(torch::autograd::collect_next_edges(inputTensors));
    std::vector<at::Tensor> made;
    for (int32_t i = 0; i < output_count; ++i) {
      // A new TensorImpl over the same memory: the pullback may keep the handle it computed
      // without keeping this node alive through it.
      at::Tensor output = tensor(outputs[i]).detach();
      if (torch::autograd::isDifferentiableType(output.scalar_type())) {
        torch::autograd::set_history(output, node);
      } else {
        node->add_input_metadata(torch::autograd::Node::undefined_input());
      }
      made.push_back(std::move(output));
    }
    for (int32_t i = 0; i < output_count; ++i) results[i] = ctorch::owned(std::move(made[i]));
  });
}
