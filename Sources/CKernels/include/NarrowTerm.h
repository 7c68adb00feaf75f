// A product of low rank that kernels add to a wider one.
#ifndef GRAFT_NARROW_TERM_H
#define GRAFT_NARROW_TERM_H

#include <stdint.h>

// sum_r rows[m, r] scale factor[r, n], nothing where rank is 0.
typedef struct {
  const float *_Nullable rows;    // row m begins at rows + m * stride
  const float *_Nullable factor;  // element (r, n) at r * factor_row + n * factor_step
  int64_t stride, factor_row, factor_step, rank;
  float scale;
} graft_narrow_term;

#endif
