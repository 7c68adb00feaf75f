// What a thread computes, as a list of nested events with their times and the memory they take.
//
// LibTorch's own observers tell of operators and of the nodes of the autograd graph, also of those that
// run inside others or in the backward pass; its allocators tell of memory. Both reach the recording
// through the thread's debugging information, which the autograd engine passes on to its own threads.
#include <ATen/SequenceNumber.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "Handles.h"

namespace {

class Recording : public c10::MemoryReportingInfoBase {
 public:
  Recording() : owner_(std::this_thread::get_id()), start_(std::chrono::steady_clock::now()) {
    threadOf(owner_);
  }

  bool isOwnedByThisThread() const { return owner_ == std::this_thread::get_id(); }

  int32_t begin(int32_t kind, const char* name, int64_t operations,
                const at::RecordFunction* function = nullptr) {
    // Outside the lock, which other threads may wait for.
    std::vector<int64_t> sizes;
    if (function != nullptr && kind == CTORCH_EVENT_OPERATOR) sizes = sizesOf(*function);
    std::lock_guard<std::mutex> lock(mutex_);
    const int32_t thread = threadOf(std::this_thread::get_id());
    ctorch_event event{};
    event.kind = kind;
    event.thread = thread;
    event.parent = parentOn(thread);
    event.name = names_.insert(name).first->c_str();
    event.operations = operations;
    event.node = function != nullptr && kind == CTORCH_EVENT_NODE ? function->seqNr() : -1;
    event.first_node = static_cast<int64_t>(at::sequence_number::peek());
    event.end_node = event.first_node;
    event.held_before = held_;
    event.held_most = held_;
    if (!sizes.empty()) {
      sizes_.push_back(std::move(sizes));
      event.sizes = sizes_.back().data();
      event.size_count = static_cast<int32_t>(sizes_.back().size());
    }
    const auto index = static_cast<int32_t>(events_.size());
    open_[thread].push_back(index);
    // Last, so that the recording's own work is not in it.
    event.begin = now();
    event.end = event.begin;
    events_.push_back(event);
    return index;
  }

  void end(int32_t index) {
    const int64_t time = now();
    std::lock_guard<std::mutex> lock(mutex_);
    if (index < 0 || static_cast<size_t>(index) >= events_.size()) return;
    ctorch_event& event = events_[index];
    event.end = time;
    event.end_node = static_cast<int64_t>(at::sequence_number::peek());
    event.held_after = held_;
    auto& open = open_[event.thread];
    // What an exception left open inside ends too.
    while (!open.empty()) {
      const int32_t last = open.back();
      open.pop_back();
      if (last == index) break;
      events_[last].end = time;
      events_[last].held_after = held_;
    }
    if (event.parent >= 0) {
      auto& outer = events_[event.parent];
      outer.held_most = std::max(outer.held_most, event.held_most);
    }
  }

  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    std::lock_guard<std::mutex> lock(mutex_);
    held_ += size;
    const int32_t index = parentOn(threadOf(std::this_thread::get_id()));
    if (index < 0) return;
    ctorch_event& event = events_[index];
    (size > 0 ? event.allocated : event.freed) += std::abs(size);
    event.held_most = std::max(event.held_most, held_);
  }

  bool memoryProfilingEnabled() const override { return true; }

  int64_t count() const { return static_cast<int64_t>(events_.size()); }
  const ctorch_event& event(int64_t index) const { return events_[index]; }

 private:
  int64_t now() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() -
                                                                start_)
        .count();
  }

  int32_t threadOf(std::thread::id id) {
    return threads_.try_emplace(id, static_cast<int32_t>(threads_.size())).first->second;
  }

  // The innermost open event; that of the recording's own thread for a thread that has none.
  int32_t parentOn(int32_t thread) {
    if (const auto& own = open_[thread]; !own.empty()) return own.back();
    const auto& first = open_[0];
    return first.empty() ? -1 : first.back();
  }

  static std::vector<int64_t> sizesOf(const at::RecordFunction& function) {
    std::vector<int64_t> result;
    auto add = [&](const at::Tensor& value) {
      if (!value.defined()) return;
      result.push_back(value.dim());
      for (int64_t size : value.sizes()) result.push_back(size);
    };
    for (const auto& input : function.inputs()) {
      if (input.isTensor()) {
        add(input.toTensor());
      } else if (input.isTensorList()) {
        for (const at::Tensor& value : input.toTensorVector()) add(value);
      }
    }
    return result;
  }

  const std::thread::id owner_;
  const std::chrono::steady_clock::time_point start_;
  std::mutex mutex_;
  std::vector<ctorch_event> events_;
  // Events point into these: neither moves what it holds.
  std::set<std::string> names_;
  std::deque<std::vector<int64_t>> sizes_;
  std::map<std::thread::id, int32_t> threads_;
  std::map<int32_t, std::vector<int32_t>> open_;
  int64_t held_ = 0;
};

Recording* current() {
  auto info = c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE);
  return info == nullptr ? nullptr : dynamic_cast<Recording*>(info);
}

struct OpenEvent : at::ObserverContext {
  OpenEvent(Recording* recording, int32_t index) : recording(recording), index(index) {}
  Recording* recording;
  int32_t index;
};

template <int32_t kind>
std::unique_ptr<at::ObserverContext> began(const at::RecordFunction& function) {
  auto recording = current();
  if (recording == nullptr) return nullptr;
  return std::make_unique<OpenEvent>(recording,
                                     recording->begin(kind, function.name(), 0, &function));
}

void ended(const at::RecordFunction&, at::ObserverContext* context) {
  auto open = static_cast<OpenEvent*>(context);
  if (open != nullptr && open->recording == current()) open->recording->end(open->index);
}

struct Handle {
  std::shared_ptr<Recording> recording;
  at::CallbackHandle operators;
  at::CallbackHandle nodes;
  bool isRunning;
};

Handle& handle(ctorch_recording recording) { return *reinterpret_cast<Handle*>(recording); }

}  // namespace

ctorch_status ctorch_recording_start(ctorch_recording* result) {
  return ctorch::guarded([&] {
    TORCH_CHECK(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) == nullptr,
                "this thread is being recorded already");
    auto made = std::make_unique<Handle>();
    made->recording = std::make_shared<Recording>();
    made->isRunning = true;
    c10::ThreadLocalDebugInfo::_push(c10::DebugInfoKind::PROFILER_STATE, made->recording);
    made->operators = at::addThreadLocalCallback(
        at::RecordFunctionCallback(began<CTORCH_EVENT_OPERATOR>, ended)
            .needsInputs(true)
            .scopes({at::RecordScope::FUNCTION}));
    // Without inputs: a copy of a gradient would keep the engine from taking it over as it is.
    made->nodes = at::addThreadLocalCallback(
        at::RecordFunctionCallback(began<CTORCH_EVENT_NODE>, ended)
            .scopes({at::RecordScope::BACKWARD_FUNCTION}));
    *result = reinterpret_cast<ctorch_recording>(made.release());
  });
}

ctorch_status ctorch_recording_stop(ctorch_recording recording) {
  return ctorch::guarded([&] {
    auto& own = handle(recording);
    TORCH_CHECK(own.isRunning && own.recording->isOwnedByThisThread(),
                "a recording is stopped once, by the thread that it was started on");
    own.isRunning = false;
    at::removeCallback(own.operators);
    at::removeCallback(own.nodes);
    c10::ThreadLocalDebugInfo::_pop(c10::DebugInfoKind::PROFILER_STATE);
  });
}

int64_t ctorch_recording_count(ctorch_recording recording) {
  return handle(recording).recording->count();
}

ctorch_event ctorch_recording_event(ctorch_recording recording, int64_t index) {
  return handle(recording).recording->event(index);
}

void ctorch_recording_release(ctorch_recording recording) { delete &handle(recording); }

bool ctorch_is_recording(void) { return current() != nullptr; }

int32_t ctorch_event_begin(int32_t kind, const char* name, int64_t operations) {
  auto recording = current();
  return recording == nullptr ? -1 : recording->begin(kind, name, operations);
}

void ctorch_event_end(int32_t index) {
  if (auto recording = current(); recording != nullptr) recording->end(index);
}
