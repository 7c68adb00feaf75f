// What the forward and the backward pass of attention share: blocks, and which scores count.
#ifndef GRAFT_ATTENTION_BLOCK_H
#define GRAFT_ATTENTION_BLOCK_H

#include <math.h>

#include "MatrixTile.h"
#include "include/AttentionKernels.h"

enum { GRAFT_QUERIES = 48, GRAFT_KEYS = 64, GRAFT_QUERY_BLOCKS = 4, GRAFT_HEAD_SIZE = 256 };

// Keys that query `row` may see for its place, as an end.
GRAFT_INLINE int64_t graft_visible_end(const graft_attention *a, int64_t row) {
  if (!a->causal) return a->key_length;
  int64_t end = row + 1 + a->key_length - a->length;
  return end < 0 ? 0 : end < a->key_length ? end : a->key_length;
}

// Scales the scores of query `row` with the keys from `start`, [GRAFT_KEYS]; those that do not count
// become minus infinity.
GRAFT_INLINE void graft_mask_scores(const graft_attention *a, int64_t batch, int64_t row,
                                    int64_t start, float *scores) {
  int64_t end = graft_visible_end(a, row) - start;
  if (end >= GRAFT_KEYS && !a->visible) {
    for (int j = 0; j < GRAFT_KEYS; ++j) scores[j] *= a->scale;
    return;
  }
  if (end > GRAFT_KEYS) end = GRAFT_KEYS;
  if (end < 0) end = 0;
  if (a->visible) {
    const uint8_t *seen = a->visible + batch * a->visible_batch + row * a->visible_row + start;
    for (int64_t j = 0; j < end; ++j) scores[j] = seen[j] ? scores[j] * a->scale : -INFINITY;
  } else {
    for (int64_t j = 0; j < end; ++j) scores[j] *= a->scale;
  }
  for (int64_t j = end; j < GRAFT_KEYS; ++j) scores[j] = -INFINITY;
}

// Whether no query of rows first..<end sees a key from `start` on.
GRAFT_INLINE bool graft_block_is_hidden(const graft_attention *a, int64_t end, int64_t start) {
  return graft_visible_end(a, end - 1) <= start;
}

// e^(x - top), 0 where x is minus infinity.
GRAFT_INLINE float graft_share(float x, float top) {
  return x == -INFINITY ? 0.0f : graft_exp(x - top);
}

#endif
