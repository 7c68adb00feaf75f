// Products of float32 matrices, on processors with AVX-512.
#ifndef GRAFT_FLOAT32_KERNELS_H
#define GRAFT_FLOAT32_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "NarrowTerm.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether this processor has what `graft_float32_multiply` needs.
bool graft_has_float32_product(void);

// y[m, n] = sum_k x[m, k] (scale w[n, k]) + term[m, n] + bias[n] (+ y[m, n]).
//
// Every element is summed alone and in the order of k, in fused steps: its bits depend neither on the
// other rows and outputs nor on how the work is split.
typedef struct {
  const float *_Nonnull x;           // element (m, k) at m x_row + k x_step
  const float *_Nonnull weight;      // [outputs, depth], or [depth, outputs] when transposed
  int64_t weight_row;                // from a row of that to the next
  float scale;
  graft_narrow_term term;
  const float *_Nullable bias;       // [outputs]
  float *_Nonnull y;                 // [rows, outputs]
  int64_t rows, depth, outputs, x_row, x_step;
  // Into how many parts the rows are split, besides the outputs in 48s. Each reads the weight anew.
  int64_t row_parts;
  bool transposed, adds;
} graft_float32_product;

// Parts that the work is split into, and the bytes that one caller needs to do some of them.
int64_t graft_float32_parts(const graft_float32_product *_Nonnull product);
int64_t graft_float32_workspace(const graft_float32_product *_Nonnull product);
// Only where there is graft_has_float32_product. `next` is the part that the caller does after these, whose
// weight is fetched meanwhile; the number of parts for none.
void graft_float32_multiply(const graft_float32_product *_Nonnull product, int64_t first,
                            int64_t end, int64_t next, void *_Nonnull workspace);

#ifdef __cplusplus
}
#endif

#endif
