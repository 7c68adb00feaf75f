// Products of small bfloat16 matrices that lie in the nearest caches, with sums in float32: the inside of
// attention. Both factors are pairs of neighbours along the depth, 32 bits each.
#ifndef GRAFT_PAIR_TILE_H
#define GRAFT_PAIR_TILE_H

#include "InstructionSet.h"
#include "VectorMath.h"

#ifdef GRAFT_X86
#define TARGET_BF16 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))

// Where a factor's pairs lie: element (i, k) at i * row + k * step.
typedef struct {
  const uint32_t *from;
  int64_t row, step;
} graft_pairs;

TARGET_BF16 static inline __mmask16 graft_lanes(int64_t count) {
  return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

// 16 numbers, rounded, in the low halves of words.
TARGET_BF16 static inline __m512i graft_low_halves(__m512 x) {
  return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}

// 16 pairs of two vectors' numbers.
TARGET_BF16 static inline __m512i graft_paired(__m512 low, __m512 high) {
  return _mm512_or_si512(graft_low_halves(low), _mm512_slli_epi32(graft_low_halves(high), 16));
}

// c[rows, 16 columns] = or += a[rows, depth] b[depth, 16 columns], `depth` in pairs; `rows`, `columns` and
// `adds` are known when it is compiled.
TARGET_BF16 static inline __attribute__((always_inline)) void graft_pair_tile(
    graft_pairs a, const uint32_t *b, int64_t b_row, int64_t depth, float *c, int64_t c_row,
    const int rows, const int columns, const int adds) {
  __m512 sums[6][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) {
      sums[i][j] = adds ? _mm512_loadu_ps(c + i * c_row + 16 * j) : _mm512_setzero_ps();
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    __m512i others[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) others[j] = _mm512_loadu_si512(b + k * b_row + 16 * j);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; ++i) {
      __m512i value = _mm512_set1_epi32((int32_t)a.from[i * a.row + k * a.step]);
#pragma clang loop unroll(full)
      for (int j = 0; j < columns; ++j) {
        sums[i][j] = _mm512_dpbf16_ps(sums[i][j], (__m512bh)others[j], (__m512bh)value);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) _mm512_storeu_ps(c + i * c_row + 16 * j, sums[i][j]);
  }
}

// The same for any number of rows.
TARGET_BF16 static inline __attribute__((always_inline)) void graft_pair_tiles(
    graft_pairs a, const uint32_t *b, int64_t b_row, int64_t depth, float *c, int64_t c_row,
    int64_t rows, const int columns, const int adds) {
  for (; rows >= 6; rows -= 6, a.from += 6 * a.row, c += 6 * c_row) {
    graft_pair_tile(a, b, b_row, depth, c, c_row, 6, columns, adds);
  }
  if (rows >= 4) {
    graft_pair_tile(a, b, b_row, depth, c, c_row, 4, columns, adds);
    rows -= 4, a.from += 4 * a.row, c += 4 * c_row;
  }
  if (rows >= 2) {
    graft_pair_tile(a, b, b_row, depth, c, c_row, 2, columns, adds);
    rows -= 2, a.from += 2 * a.row, c += 2 * c_row;
  }
  if (rows > 0) graft_pair_tile(a, b, b_row, depth, c, c_row, 1, columns, adds);
}

// The same for any number of columns that is a multiple of 16.
TARGET_BF16 static inline __attribute__((always_inline)) void graft_pair_product(
    graft_pairs a, const uint32_t *b, int64_t b_row, int64_t depth, float *c, int64_t c_row,
    int64_t rows, int64_t columns, const int adds) {
  int64_t j = 0;
  for (; j + 64 <= columns; j += 64) {
    graft_pair_tiles(a, b + j, b_row, depth, c + j, c_row, rows, 4, adds);
  }
  for (; j + 32 <= columns; j += 32) {
    graft_pair_tiles(a, b + j, b_row, depth, c + j, c_row, rows, 2, adds);
  }
  if (j < columns) graft_pair_tiles(a, b + j, b_row, depth, c + j, c_row, rows, 1, adds);
}

#endif
#endif
