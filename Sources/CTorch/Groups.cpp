// Collective operations: c10d's ProcessGroupGloo.
//
// Gloo itself is inside LibTorch, its headers are not. Those of a system's package serve, whatever
// their version: all of Gloo's types that are used here are behind pointers.
#include "StoreHandle.h"

#if __has_include(<gloo/context.h>)

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace {

using Group = c10::intrusive_ptr<c10d::ProcessGroupGloo>;
using Work = c10::intrusive_ptr<c10d::Work>;

Group& group(ctorch_group handle) { return *reinterpret_cast<Group*>(handle); }

// Starts an operation, without a part of it in the autograd graph.
template <typename Body>
ctorch_status start(ctorch_work* work, Body&& body) {
  return ctorch::guarded([&] {
    at::NoGradGuard guard;
    *work = reinterpret_cast<ctorch_work>(new Work(body()));
  });
}

}  // namespace

bool ctorch_has_gloo(void) { return true; }

ctorch_status ctorch_group_gloo(ctorch_store store, const char* prefix, int32_t rank, int32_t size,
                                const char* address, bool is_interface, int64_t timeout,
                                ctorch_group* result) {
  return ctorch::guarded([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(timeout));
    options->devices.push_back(
        is_interface ? c10d::ProcessGroupGloo::createDeviceForInterface(address)
                     : c10d::ProcessGroupGloo::createDeviceForHostname(address));
    auto prefixed = c10::make_intrusive<c10d::PrefixStore>(prefix, ctorch::store(store));
    *result = reinterpret_cast<ctorch_group>(new Group(
        c10::make_intrusive<c10d::ProcessGroupGloo>(prefixed, rank, size, std::move(options))));
  });
}

void ctorch_group_release(ctorch_group handle) { delete reinterpret_cast<Group*>(handle); }

ctorch_status ctorch_group_all_reduce(ctorch_group handle, ctorch_tensor tensor, int32_t operation,
                                      ctorch_work* work) {
  return start(work, [&] {
    c10d::AllreduceOptions options;
    options.reduceOp = operation == CTORCH_SUM   ? c10d::ReduceOp::SUM
                       : operation == CTORCH_MAX ? c10d::ReduceOp::MAX
                                                 : c10d::ReduceOp::MIN;
    std::vector<at::Tensor> tensors{ctorch::tensor(tensor)};
    return group(handle)->allreduce(tensors, options);
  });
}

ctorch_status ctorch_group_broadcast(ctorch_group handle, ctorch_tensor tensor, int32_t root,
                                     ctorch_work* work) {
  return start(work, [&] {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    std::vector<at::Tensor> tensors{ctorch::tensor(tensor)};
    return group(handle)->broadcast(tensors, options);
  });
}

ctorch_status ctorch_group_all_gather(ctorch_group handle, ctorch_tensor output,
                                      ctorch_tensor input, ctorch_work* work) {
  return start(work, [&] {
    return group(handle)->_allgather_base(ctorch::tensor(output), ctorch::tensor(input));
  });
}

ctorch_status ctorch_group_reduce_scatter(ctorch_group handle, ctorch_tensor output,
                                          ctorch_tensor input, ctorch_work* work) {
  return start(work, [&] {
    return group(handle)->_reduce_scatter_base(ctorch::tensor(output), ctorch::tensor(input));
  });
}

ctorch_status ctorch_group_all_to_all(ctorch_group handle, ctorch_tensor output,
                                      ctorch_tensor input, ctorch_work* work) {
  return start(work, [&] {
    std::vector<int64_t> even;
    return group(handle)->alltoall_base(ctorch::tensor(output), ctorch::tensor(input), even, even);
  });
}

ctorch_status ctorch_work_wait(ctorch_work handle, int64_t timeout, bool* is_done) {
  return ctorch::guarded([&] {
    Work& work = *reinterpret_cast<Work*>(handle);
    try {
      *is_done = work->wait(std::chrono::milliseconds(timeout));
    } catch (...) {
      // It also throws when the time is over. What was completed just then is asked again, and throws if it
      // has failed.
      *is_done = work->isCompleted() && work->wait(std::chrono::milliseconds(timeout));
    }
  });
}

void ctorch_work_release(ctorch_work handle) { delete reinterpret_cast<Work*>(handle); }

#else

namespace {

ctorch_status missing() {
  ctorch_set_error("Graft was built without Gloo's headers (Debian: libgloo-dev)");
  return 1;
}

}  // namespace

bool ctorch_has_gloo(void) { return false; }

ctorch_status ctorch_group_gloo(ctorch_store, const char*, int32_t, int32_t, const char*, bool,
                                int64_t, ctorch_group*) {
  return missing();
}

void ctorch_group_release(ctorch_group) {}

ctorch_status ctorch_group_all_reduce(ctorch_group, ctorch_tensor, int32_t, ctorch_work*) {
  return missing();
}

ctorch_status ctorch_group_broadcast(ctorch_group, ctorch_tensor, int32_t, ctorch_work*) {
  return missing();
}

ctorch_status ctorch_group_all_gather(ctorch_group, ctorch_tensor, ctorch_tensor, ctorch_work*) {
  return missing();
}

ctorch_status ctorch_group_reduce_scatter(ctorch_group, ctorch_tensor, ctorch_tensor,
                                          ctorch_work*) {
  return missing();
}

ctorch_status ctorch_group_all_to_all(ctorch_group, ctorch_tensor, ctorch_tensor, ctorch_work*) {
  return missing();
}

ctorch_status ctorch_work_wait(ctorch_work, int64_t, bool*) { return missing(); }

void ctorch_work_release(ctorch_work) {}

#endif
