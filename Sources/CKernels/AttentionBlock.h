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

// Scales the scores of query `row` with `width` keys from `start`, a multiple of GRAFT_WIDTH; those that do
// not count become minus infinity.
GRAFT_INLINE void graft_mask_scores(const graft_attention *a, int64_t batch, int64_t row,
                                    int64_t start, int64_t width, float *scores) {
  int64_t end = graft_visible_end(a, row) - start;
  for (int64_t i = 0; i < width; i += GRAFT_WIDTH) {
    // A vector of its own: the compiler would go across `i` and gather.
    graft_vector some;
    GRAFT_LOAD(some, scores + i);
    some = some * a->scale;
    GRAFT_STORE(scores + i, some);
  }
  if (a->visible) {
    const uint8_t *seen = a->visible + batch * a->visible_batch + row * a->visible_row + start;
    int64_t stop = end < width ? end : width;
    for (int64_t j = 0; j < stop; ++j) scores[j] = seen[j] ? scores[j] : -INFINITY;
  }
  for (int64_t j = end < 0 ? 0 : end; j < width; ++j) scores[j] = -INFINITY;
}

// Keys from `start` on that the queries before row `end` see, at most GRAFT_KEYS; not positive where they
// see none.
GRAFT_INLINE int64_t graft_seen_keys(const graft_attention *a, int64_t end, int64_t start) {
  int64_t count = graft_visible_end(a, end - 1) - start;
  return count < GRAFT_KEYS ? count : GRAFT_KEYS;
}

// Rows of a block of queries `row` ..< `row` + `rows` that are done at a time with the keys from `start`:
// fewer where not all of them see all of the keys, so that less is computed that nobody sees.
GRAFT_INLINE int64_t graft_joint_rows(const graft_attention *a, int64_t row, int64_t rows,
                                      int64_t start, int64_t fewest) {
  if (graft_seen_keys(a, row + 1, start) == graft_seen_keys(a, row + rows, start)) return rows;
  return rows < fewest ? rows : fewest;
}

// e^(x - top) of x up to top; 0 where that is below 2e-38 or x is minus
// infinity, whatever top is.
//
// As `graft_exp`, but with products fused with sums.
GRAFT_INLINE float graft_share(float x, float top) {
#pragma STDC FP_CONTRACT ON
  float distance = x - top;
  float clamped = distance < -87.0f ? -87.0f : distance;
  float result;
  GRAFT_EXP(result, clamped);
  return x == -INFINITY || distance < -87.0f ? 0.0f : result;
}

#endif
