// What a ctorch_store is. Private to this target.
#pragma once

#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "Handles.h"

namespace ctorch {

using StorePointer = c10::intrusive_ptr<c10d::TCPStore>;

inline StorePointer& store(ctorch_store handle) {
  return *reinterpret_cast<StorePointer*>(handle);
}

}  // namespace ctorch
