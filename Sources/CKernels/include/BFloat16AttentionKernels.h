// Softmax attention whose products are of bfloat16 numbers, with sums in float32. Scores, shares and
// everything between the products are float32. Only where graft_has_bfloat16_dot().
#ifndef GRAFT_BFLOAT16_ATTENTION_KERNELS_H
#define GRAFT_BFLOAT16_ATTENTION_KERNELS_H

#include "AttentionKernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// Keys and values of every (batch, group) pair, rounded, as pairs of neighbours in 32 bits, the first in
// the low half; zeros behind key_length. `padded` is a multiple of 64.
typedef struct {
  uint32_t *_Nullable key_columns;    // [size / 2, padded], pairs of numbers of a position
  uint32_t *_Nullable key_rows;       // [padded / 2, size], pairs of positions; backward alone
  uint32_t *_Nullable value_columns;  // as key_columns; backward alone
  uint32_t *_Nullable value_rows;     // as key_rows; forward alone
} graft_attention_pairs;

// Queries of a unit of work of the forward pass.
int64_t graft_bfloat16_attention_chunk(void);

// Makes those of `pairs` that are not null, for (batch, group) pairs first..<end.
void graft_bfloat16_attention_pack(const graft_attention *_Nonnull a, graft_attention_pairs pairs,
                                   int64_t first, int64_t end);

// As graft_attention_forward, with chunks of graft_bfloat16_attention_chunk queries.
void graft_bfloat16_attention_forward(const graft_attention *_Nonnull a,
                                      graft_attention_pairs pairs, int64_t first, int64_t end);

// As graft_attention_backward.
void graft_bfloat16_attention_backward(const graft_attention *_Nonnull a,
                                       graft_attention_pairs pairs, int64_t first, int64_t end);

#ifdef __cplusplus
}
#endif

#endif
