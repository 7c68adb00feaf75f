// Where LibTorch's tensors on the processor get their memory from.
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <cstdlib>
#include <cstring>

#include "Arena.h"
#include "Handles.h"

namespace {

// Smaller blocks come from the C library, which keeps its own small ones.
constexpr std::size_t least = std::size_t{256} << 10;

// Never destroyed: tensors may be given back after everything static.
Arena& arena() {
  static auto* shared = new Arena;
  return *shared;
}

void releaseLarge(void* block) {
  c10::profiledCPUMemoryReporter().Delete(block);
  arena().release(block);
}

void releaseSmall(void* block) {
  c10::profiledCPUMemoryReporter().Delete(block);
  c10::free_cpu(block);
}

void releaseAny(void* block) {
  if (block == nullptr) return;
  arena().owns(block) ? releaseLarge(block) : releaseSmall(block);
}

class TensorAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t count) override {
    void* block = count >= least ? arena().allocate(count) : nullptr;
    const bool isLarge = block != nullptr;
    // Also where the arena got nothing: this one reports it as LibTorch does.
    if (!isLarge) block = c10::alloc_cpu(count);
    if (block == nullptr) return {nullptr, nullptr, &releaseAny, at::Device(at::kCPU)};
    c10::profiledCPUMemoryReporter().New(block, count);
    return {block, block, isLarge ? &releaseLarge : &releaseSmall, at::Device(at::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &releaseAny; }

  void copy_data(void* target, const void* source, std::size_t count) const override {
    std::memcpy(target, source, count);
  }
};

// Before any tensor is made. GRAFT_ALLOCATOR=system leaves LibTorch's own in place, to compare both.
[[maybe_unused]] const bool isInstalled = [] {
  const char* choice = std::getenv("GRAFT_ALLOCATOR");
  if (choice != nullptr && std::strcmp(choice, "system") == 0) return false;
  c10::SetCPUAllocator(new TensorAllocator, /*priority=*/1);
  return true;
}();

}  // namespace

int64_t ctorch_release_free_memory(void) {
  return static_cast<int64_t>(arena().releasePages());
}
