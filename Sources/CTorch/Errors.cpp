// The last error of each thread.
#include <c10/util/Exception.h>

#include <string>

#include "Handles.h"

namespace {
thread_local std::string lastError;
}

namespace ctorch {

void setError(const std::exception& error) {
  // c10::Error::what() carries a C++ backtrace that means nothing to a Swift user.
  if (auto* torchError = dynamic_cast<const c10::Error*>(&error)) {
    lastError = torchError->what_without_backtrace();
  } else {
    lastError = error.what();
  }
}

void setUnknownError() { lastError = "an exception of unknown type"; }

}  // namespace ctorch

const char* ctorch_last_error(void) { return lastError.c_str(); }

void ctorch_set_error(const char* message) { lastError = message; }
