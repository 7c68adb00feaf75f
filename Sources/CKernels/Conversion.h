// Numbers of any element type as float32, and back.
#ifndef GRAFT_CONVERSION_H
#define GRAFT_CONVERSION_H

#include <stdint.h>

// x[start ..< start + count] as float32. `buffer` has room for `count`; of float32 the input itself is
// returned.
const float *graft_load(const void *x, int32_t type, int64_t start, int64_t count, float *buffer);

// Writes float32 numbers to y[start ..< start + count], rounded to nearest, ties to even.
void graft_store(const float *values, int32_t type, int64_t start, int64_t count, void *y);

#endif
