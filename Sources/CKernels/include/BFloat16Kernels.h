// Products of matrices in bfloat16 with sums in float32, on processors that multiply pairs of it.
#ifndef GRAFT_BFLOAT16_KERNELS_H
#define GRAFT_BFLOAT16_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "NarrowTerm.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether this processor has what `graft_bfloat16_multiply` needs.
bool graft_has_bfloat16_dot(void);

// y[first ..< end] = x rounded to bfloat16, to nearest, ties to even.
void graft_round_to_bfloat16(const float *_Nonnull x, int64_t first, int64_t end,
                             uint16_t *_Nonnull y);

// y[m, n] = sum_k x[m, k] w[n, k] + term[m, n] (+ row_scale[m] y[m, n]), where w in float32 is
// rounded to bfloat16 as it is read. One of the two weights is NULL. Numbers below the least normal one count as zero in the first sum.
typedef struct {
  const uint16_t *_Nonnull x;          // [rows, depth], bfloat16
  const float *_Nullable weight;       // [outputs, depth], or [depth, outputs] when transposed
  const uint16_t *_Nullable rounded;   // The same in bfloat16, not transposed
  graft_narrow_term term;
  const float *_Nullable row_scale;    // [rows]; NULL writes y anew
  float *_Nonnull y;                   // [rows, outputs]
  int64_t rows, depth, outputs;
  int64_t row_parts;                   // How many parts the rows of a panel of outputs are split into.
  bool transposed;
} graft_bfloat16_product;

// Parts that the work is split into, and the bytes that one caller needs to do some of them. `next` is
// the part that the caller does afterwards, whose weight is fetched meanwhile; their count for none.
int64_t graft_bfloat16_parts(const graft_bfloat16_product *_Nonnull product);
int64_t graft_bfloat16_workspace(const graft_bfloat16_product *_Nonnull product);
// Only where there is graft_has_bfloat16_dot.
void graft_bfloat16_multiply(const graft_bfloat16_product *_Nonnull product, int64_t first,
                             int64_t end, int64_t next, void *_Nonnull workspace);

#ifdef __cplusplus
}
#endif

#endif
