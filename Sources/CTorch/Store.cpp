// Keys and values that all processes of a run see: c10d's TCPStore.
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>

#include "StoreHandle.h"

using ctorch::store;

namespace {

// c10d logs each attempt to connect, with its own stack; what fails in the end is an error anyway.
void logErrorsOnly() {
  constexpr int error = 2;
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr && FLAGS_caffe2_log_level < error) {
    FLAGS_caffe2_log_level = error;
  }
}

}  // namespace

ctorch_status ctorch_store_open(const char* host, int32_t port, bool is_server, int64_t timeout,
                                ctorch_store* result) {
  return ctorch::guarded([&] {
    logErrorsOnly();
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = is_server;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(timeout);
    auto made = c10::make_intrusive<c10d::TCPStore>(host, options);
    *result = reinterpret_cast<ctorch_store>(new ctorch::StorePointer(std::move(made)));
  });
}

void ctorch_store_release(ctorch_store handle) {
  delete reinterpret_cast<ctorch::StorePointer*>(handle);
}

int32_t ctorch_store_port(ctorch_store handle) { return store(handle)->getPort(); }

ctorch_status ctorch_store_set(ctorch_store handle, const char* key, const void* bytes,
                               int64_t count) {
  return ctorch::guarded([&] {
    auto start = static_cast<const uint8_t*>(bytes);
    store(handle)->set(key, std::vector<uint8_t>(start, start + count));
  });
}

ctorch_status ctorch_store_get(ctorch_store handle, const char* key, void* context,
                               void (*receive)(void*, const void*, int64_t)) {
  return ctorch::guarded([&] {
    auto value = store(handle)->get(key);
    receive(context, value.data(), static_cast<int64_t>(value.size()));
  });
}

ctorch_status ctorch_store_has(ctorch_store handle, const char* key, bool* result) {
  return ctorch::guarded([&] { *result = store(handle)->check({key}); });
}

ctorch_status ctorch_store_add(ctorch_store handle, const char* key, int64_t amount,
                               int64_t* result) {
  return ctorch::guarded([&] { *result = store(handle)->add(key, amount); });
}
