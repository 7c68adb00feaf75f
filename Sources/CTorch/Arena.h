// Memory for large tensors that stays the process's, so that steps use the same pages again.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

// Blocks of a few large segments, the smallest free one that fits first. Neighbouring free blocks
// become one. What is free keeps its pages: a training step takes and gives back the same hundreds of
// megabytes, and each page that the system hands out anew costs a fault and is filled with zeros.
// Segments ask for huge pages, of which there are fewer. Where addresses are limited segments are short, and go when they are
// empty.
class Arena {
 public:
  // A block at a multiple of 64 bytes; null when there is no memory.
  void* allocate(std::size_t count);
  // Gives a block of `allocate` back.
  void release(void* block);
  bool owns(const void* address);
  // Hands the pages of free blocks to the system; returns their bytes.
  std::size_t releasePages();

 private:
  struct Block {
    std::size_t count;
    bool isFree;
    // The first block of a segment has no neighbour before it.
    bool isFirst;
  };

  struct Segment {
    // What the system gave, and the part of it that is used.
    char* memory;
    std::size_t length;
    std::size_t count;
  };

  bool addSegment(std::size_t count);
  void insertFree(char* start, std::size_t count, bool isFirst);

  std::mutex mutex_;
  std::map<char*, Block> blocks_;
  std::set<std::pair<std::size_t, char*>> free_;
  std::map<char*, Segment> segments_;
};
