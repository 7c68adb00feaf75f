#include "Arena.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>

namespace {

constexpr std::size_t hugePage = std::size_t{2} << 20;
// Addresses, not memory: of one long segment the rest that was never used is the largest free block, and
// so the last one taken.
constexpr std::size_t segmentSize = std::size_t{64} << 30;
constexpr std::size_t leastSegment = std::size_t{16} << 20;
constexpr std::size_t alignment = 64;
// Blocks whose lengths are powers of two would begin at the same place of their pages, and the
// processor takes loads and stores of such addresses for the same one.
constexpr std::size_t gap = 3 * alignment;

std::size_t rounded(std::size_t count, std::size_t unit) { return (count + unit - 1) / unit * unit; }

// Whether addresses count (ulimit -v, ulimit -d), so that others need some, too.
bool hasLimit() {
  for (const auto kind : {RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit{};
    if (getrlimit(kind, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return true;
  }
  return false;
}

}  // namespace

bool Arena::addSegment(std::size_t count) {
  const bool isLimited = hasLimit();
  std::size_t wanted = 0;
  void* memory = MAP_FAILED;
  for (std::size_t size = isLimited ? leastSegment : segmentSize;
       memory == MAP_FAILED && size >= leastSegment; size /= 2) {
    wanted = rounded(std::max(size, count), hugePage);
    // A huge page more, as the system chooses the address.
    memory = mmap(nullptr, wanted + hugePage, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  if (memory == MAP_FAILED) return false;
  auto* start = reinterpret_cast<char*>(rounded(reinterpret_cast<std::uintptr_t>(memory), hugePage));
#ifdef MADV_HUGEPAGE
  madvise(start, wanted, MADV_HUGEPAGE);
#endif
  segments_.emplace(start, Segment{static_cast<char*>(memory), wanted + hugePage, wanted});
  insertFree(start, wanted, true);
  return true;
}

void Arena::insertFree(char* start, std::size_t count, bool isFirst) {
  blocks_[start] = {count, true, isFirst};
  free_.emplace(count, start);
}

void* Arena::allocate(std::size_t count) {
  const std::size_t wanted = rounded(count, alignment) + gap;
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = free_.lower_bound({wanted, nullptr});
  if (found == free_.end()) {
    if (!addSegment(wanted)) return nullptr;
    found = free_.lower_bound({wanted, nullptr});
  }
  const auto [length, start] = *found;
  free_.erase(found);
  Block& block = blocks_.at(start);
  block.isFree = false;
  // What is too small for any block stays with this one.
  if (length - wanted > gap) {
    block.count = wanted;
    insertFree(start + wanted, length - wanted, false);
  }
  return start;
}

void Arena::release(void* address) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto block = blocks_.find(static_cast<char*>(address));
  if (block == blocks_.end()) return;
  const auto next = std::next(block);
  if (next != blocks_.end() && next->second.isFree && !next->second.isFirst) {
    free_.erase({next->second.count, next->first});
    block->second.count += next->second.count;
    blocks_.erase(next);
  }
  if (!block->second.isFirst && std::prev(block)->second.isFree) {
    const auto previous = std::prev(block);
    free_.erase({previous->second.count, previous->first});
    previous->second.count += block->second.count;
    blocks_.erase(block);
    block = previous;
  }
  const auto segment = segments_.find(block->first);
  if (segment != segments_.end() && segment->second.count == block->second.count && hasLimit()) {
    munmap(segment->second.memory, segment->second.length);
    segments_.erase(segment);
    blocks_.erase(block);
    return;
  }
  block->second.isFree = true;
  free_.emplace(block->second.count, block->first);
}

bool Arena::owns(const void* address) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto* place = static_cast<char*>(const_cast<void*>(address));
  auto segment = segments_.upper_bound(place);
  if (segment == segments_.begin()) return false;
  --segment;
  return place < segment->first + segment->second.count;
}

std::size_t Arena::releasePages() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::size_t released = 0;
  for (const auto& [count, start] : free_) {
    const auto begin = rounded(reinterpret_cast<std::uintptr_t>(start), hugePage);
    const auto end = (reinterpret_cast<std::uintptr_t>(start) + count) / hugePage * hugePage;
    if (begin >= end) continue;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    released += end - begin;
  }
  return released;
}
