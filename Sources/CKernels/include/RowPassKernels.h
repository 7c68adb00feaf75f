// One pass over the rows of a matrix for everything that low rank needs of it, on processors with AVX-512.
#ifndef GRAFT_ROW_PASS_KERNELS_H
#define GRAFT_ROW_PASS_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether this processor has what `graft_row_pass_run` needs.
bool graft_has_row_pass(void);

// Rows of a block. A sum over rows is one number for each block, which are added up in their order.
enum { GRAFT_ROW_BLOCK = 128 };

// Of x, [rows, columns], any of three things:
//
//   product[m, j] = sum_k x[m, k] factor[j, k]
//   sums[b, j, k] = sum of left[m, j] x[m, k] over the rows m of block b
//   the codes that graft_quantize_rows makes of x, and the code sums of graft_int8_row_sums
//
// Products are summed in 16 lanes, lane i in the order of k = i, i + 16, ..., by fused steps; then the lanes
// i and i + 8 are added, of these sums i and i + 4, and so on. Sums over rows are in the order of rows, by
// fused steps. So bits depend neither on the other rows, factors and columns nor on how blocks are split.
typedef struct {
  int64_t rows, columns;
  // As graft_pack_factor made it, and row m at product + m product_row; rank 0 for none.
  const float *_Nullable factor;
  float *_Nullable product;
  int64_t rank, product_row;
  // Row m at left + m left_row, and [blocks, left_rank, graft_row_pass_stride]; left_rank 0 for none.
  const float *_Nullable left;
  float *_Nullable sums;
  int64_t left_rank, left_row;
  // As graft_quantize_rows has them; codes NULL for none, code_sums NULL where nobody reads them.
  const float *_Nullable column_factor;
  float threshold;
  int8_t *_Nullable codes;
  float *_Nullable scale;
  uint8_t *_Nullable outlier;
  int32_t *_Nullable code_sums;
} graft_row_pass;

// From a row of a narrow matrix to the next, so that neighbouring rows lie in other sets of a cache.
int64_t graft_row_pass_stride(int64_t columns);

int64_t graft_row_pass_blocks(const graft_row_pass *_Nonnull pass);

// How many rows are best done at a time: so many stay in the second cache.
int64_t graft_row_pass_rows(int64_t columns);

// Rows first ..< end, which are of one block and follow those that were done of it; row `first` is at x, and
// `ahead` rows behind them are asked for meanwhile. Only where there is graft_has_row_pass.
void graft_row_pass_run(const graft_row_pass *_Nonnull pass, const float *_Nonnull x, int64_t first,
                        int64_t end, int64_t ahead);

// result[i * row + j * step] = scale * the sum of sums[b, j, i] over the blocks in their order, for columns
// first ..< end of i.
void graft_row_pass_total(const graft_row_pass *_Nonnull pass, float scale, int64_t row, int64_t step,
                          int64_t first, int64_t end, float *_Nonnull result);

// Factors of a pass from f, whose element (j, k) is at j row + k step, one of which is 1: scale f[j, k] with
// graft_row_pass_stride between rows.
void graft_pack_factor(const float *_Nonnull f, int64_t row, int64_t step, int64_t columns,
                       int64_t rank, float scale, float *_Nonnull result);

#ifdef __cplusplus
}
#endif

#endif
