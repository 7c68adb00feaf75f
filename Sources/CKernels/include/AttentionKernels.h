// Softmax attention of float32 in blocks that lie in the nearest caches, forward and backward: the
// scores of a row are never all in memory. Source: FlashAttention-2, arXiv 2307.08691.
#ifndef GRAFT_ATTENTION_KERNELS_H
#define GRAFT_ATTENTION_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Distances in elements between rows, heads and batches.
typedef struct {
  int64_t batch, head, row;
} graft_attention_strides;

typedef struct {
  const float *_Nonnull query;  // [batch, heads, length, size]
  const float *_Nonnull key;    // [batch, groups, key_length, size]
  const float *_Nonnull value;  // likewise
  // Keys and values of a head with positions side by side, [batch, groups, size, padded]:
  // graft_attention_turn makes them. Null for products in bfloat16, which read pairs instead.
  const float *_Nullable key_columns;
  const float *_Nullable value_columns;  // for the backward pass alone
  float *_Nonnull output;                // [batch, heads, length, size]
  // log(sum(e^score)) of each query, [batch, heads, length]; minus infinity where it sees no key.
  float *_Nonnull log_sums;
  // 1 where a key may be seen, [batch or 1, 1, length or 1, key_length]; null for every key.
  const uint8_t *_Nullable visible;
  int64_t visible_batch, visible_row;  // its distances
  // Backward: gradients of output, [batch, heads, length, size], and of the inputs, those of key and
  // value for each query head, [batch, heads, key_length, size].
  const float *_Nullable output_gradient;
  float *_Nullable query_gradient, *_Nullable key_gradient, *_Nullable value_gradient;
  graft_attention_strides query_strides, key_strides, value_strides, output_strides,
      output_gradient_strides, query_gradient_strides;
  int64_t batch, heads, groups, length, key_length, padded, size;
  float scale;
  // Whether query i sees the keys up to i + key_length - length.
  bool causal;
} graft_attention;

// Queries that are done at a time: a unit of work is this many of a head.
int64_t graft_attention_chunk(void);

// Turned copies for (batch, group) pairs first..<end: [size, padded], zeros behind key_length.
void graft_attention_turn(const float *_Nonnull x, graft_attention_strides strides, int64_t groups,
                          int64_t length, int64_t padded, int64_t size, int64_t first, int64_t end,
                          float *_Nonnull turned);

// Outputs and log_sums of units first..<end; unit u is chunk u % chunks of head u / chunks. `size` is a
// multiple of 16, at most 256.
void graft_attention_forward(const graft_attention *_Nonnull a, int64_t first, int64_t end);

// All three gradients of heads (batch * heads of them) first..<end. The memory of key_gradient and
// value_gradient is written, that of query_gradient too.
void graft_attention_backward(const graft_attention *_Nonnull a, int64_t first, int64_t end);

#ifdef __cplusplus
}
#endif

#endif
