// What the forward and the backward pass of attention in bfloat16 share.
#ifndef GRAFT_BFLOAT16_ATTENTION_BLOCK_H
#define GRAFT_BFLOAT16_ATTENTION_BLOCK_H

#include "AttentionBlock.h"
#include "PairTile.h"
#include "include/BFloat16AttentionKernels.h"

// Queries and keys of a block, queries that are done at a time where not all see the same keys, and the
// largest size of a head.
enum { QUERIES = 64, KEYS = GRAFT_KEYS, STEP = 16, SIZE = GRAFT_HEAD_SIZE };

// log2(e).
static const float graft_log2_e = 1.44269504f;

#ifdef GRAFT_X86
// Which of 64 keys from `start` query `row` sees.
TARGET_BF16 static inline uint64_t graft_seen(const graft_attention *a, int64_t batch, int64_t row,
                                              int64_t start) {
  const int64_t count = graft_visible_end(a, row) - start;
  uint64_t seen = count >= 64 ? ~0ull : count <= 0 ? 0 : (1ull << count) - 1;
  if (a->visible && seen) {
    const uint8_t *from = a->visible + batch * a->visible_batch + row * a->visible_row + start;
    __m512i bytes = _mm512_maskz_loadu_epi8(seen, from);
    seen &= _mm512_test_epi8_mask(bytes, bytes);
  }
  return seen;
}

// 2^x for x up to 127, within 4e-6 of it, which a rounding to bfloat16 hides; 0 below -150.
TARGET_BF16 static inline __m512 graft_power_of_two(__m512 x) {
  __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 rest = _mm512_sub_ps(x, whole);
  // Taylor's series of e^(rest ln 2), |rest| <= 1/2.
  __m512 p = _mm512_set1_ps(1.33335581e-3f);
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(9.61812911e-3f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(6.93147181e-1f));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, whole);
}

// Rows of float32 numbers, rounded: [rows][size] bfloat16 side by side.
TARGET_BF16 static inline void graft_round_rows(const float *x, int64_t row, int64_t rows,
                                                int64_t size, uint32_t *rounded) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t d = 0; d < size; d += 16) {
      _mm256_storeu_si256((__m256i *)(rounded + (i * size + d) / 2),
                          (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i * row + d)));
    }
  }
}

// Pairs of neighbouring rows, [(rows + 1) / 2][size]; a zero behind an odd last one.
TARGET_BF16 static inline void graft_pair_rows(const float *x, int64_t row, int64_t rows,
                                               int64_t size, uint32_t *pairs) {
  for (int64_t i = 0; i < rows; i += 2) {
    for (int64_t d = 0; d < size; d += 16) {
      __m512 low = _mm512_loadu_ps(x + i * row + d);
      __m512 high = i + 1 < rows ? _mm512_loadu_ps(x + (i + 1) * row + d) : _mm512_setzero_ps();
      _mm512_storeu_si512(pairs + i / 2 * size + d, graft_paired(low, high));
    }
  }
}
#endif

#endif
