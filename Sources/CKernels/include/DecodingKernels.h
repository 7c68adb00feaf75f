// Steps of a decoder that writes one token after the other: products and attention of few rows, which
// are bound by the memory that weights and cache are read from. float32.
//
// Sums are in another order, and products fused with sums, where the instruction set allows it: results
// differ between instruction sets in the last digits.
#ifndef GRAFT_DECODING_KERNELS_H
#define GRAFT_DECODING_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// y[m, n] = sum_k x[m, k] w[n, k] + bias[n] for outputs n in first..<end. The weight is read from
// memory once, whatever the number of rows.
typedef struct {
  const float *_Nonnull x;       // [rows, depth]
  const float *_Nonnull weight;  // [outputs, depth]
  const float *_Nullable bias;   // [outputs]
  int64_t rows, outputs, depth;
  float *_Nonnull y;             // [rows, outputs]
} graft_row_product;

void graft_multiply_few_rows(const graft_row_product *_Nonnull product, int64_t first, int64_t end);

// y[m, n] += scale * sum_j narrow[m, j] b[j, n] for outputs n in first..<end: what low rank adds. Row m of
// `narrow` begins at narrow + m * narrow_stride.
void graft_add_low_rank(const float *_Nonnull narrow, int64_t narrow_stride,
                        const float *_Nonnull b, int64_t rank, float scale, int64_t rows,
                        int64_t outputs, int64_t first, int64_t end, float *_Nonnull y);

// x[i] += scale * y[i] for elements first..<end.
void graft_add_scaled(const float *_Nonnull y, float scale, int64_t first, int64_t end,
                      float *_Nonnull x);

// Rows first..<end of [rows, size], size > 0: the largest number and the first place where it stands. A row
// with NaN gives NaN and the first place of one.
void graft_row_maximum(const float *_Nonnull x, int64_t size, int64_t first, int64_t end,
                       float *_Nonnull largest, int64_t *_Nonnull place);

// Attention of one position of each row over keys and values in a cache. Query heads
// [g * shared, (g + 1) * shared) read key/value head g, shared = heads / groups.
typedef struct {
  const float *_Nonnull query;   // [rows, heads, size]
  const float *_Nonnull key;     // [rows, groups, capacity, size], of which `length` positions are there
  const float *_Nonnull value;
  const uint8_t *_Nullable visible;  // [rows, length], 0 where a position is hidden; NULL for all seen
  int64_t visible_stride;        // Bytes from one row of it to the next; 0 for one row for all.
  int64_t rows, heads, groups, capacity, length, size;
  float scale;                   // Factor of the scores
  float softcap;                 // They are c tanh(score / c) for c > 0.
  float *_Nonnull y;             // [rows, heads, size]
} graft_cached_attention;

// Floats of working memory that one caller needs.
int64_t graft_attend_workspace(const graft_cached_attention *_Nonnull a);

// Pairs first..<end of a row and a key/value head: row = pair / groups. A row that sees nothing gets 0.
void graft_attend(const graft_cached_attention *_Nonnull a, int64_t first, int64_t end,
                  float *_Nonnull workspace);

#ifdef __cplusplus
}
#endif

#endif
