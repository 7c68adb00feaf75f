// What blockwise quantisers share: the largest magnitude of a block and its scale.
#ifndef GRAFT_BLOCK_H
#define GRAFT_BLOCK_H

#include <stdint.h>

// Numbers that are converted at a time; the buffer lives on the stack.
enum { GRAFT_CHUNK = 1024 };

// How the numbers of a block become numbers in [-1, 1].
typedef struct {
  float absmax;
  // 1 / absmax where that is a usable factor, else 0: then `graft_normalize` decides one by one.
  float factor;
} graft_block_scale;

graft_block_scale graft_find_scale(const void *x, int32_t type, int64_t start, int64_t count);

// Writes x in [-1, 1]: x * factor, or what stands for it in a block of zeros, of numbers too small
// for a factor, with infinities or with NaN.
void graft_normalize(graft_block_scale scale, const float *x, int64_t count, float *result);

#endif
