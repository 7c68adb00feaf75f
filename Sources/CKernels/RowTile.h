// The inner part of a pass over rows: sums along a row and sums over rows, both with neighbouring columns
// in a vector, so that no lane is idle however narrow the other matrix is.
#ifndef GRAFT_ROW_TILE_H
#define GRAFT_ROW_TILE_H

#include "InstructionSet.h"
#include "TransposeWords.h"
#include "include/RowPassKernels.h"

// Rows of a tile and rows of a narrow matrix, whose 24 sums stay in registers.
enum { GRAFT_TALL = 3, GRAFT_SLIM = 8 };

// Rows that are worked on at a time, at most.
enum { GRAFT_STRETCH_ROWS = 48 };

#ifdef GRAFT_X86
#define GRAFT_TILE TARGET_AVX512 static inline __attribute__((always_inline))

GRAFT_TILE __mmask16 graft_some_lanes(int64_t count) {
  return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

// The sums of the lanes of eight vectors, in their order.
GRAFT_TILE __m256 graft_sums_of_lanes(const __m512 *v) {
  __m512 half[4], quarter[2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i) {
    half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 4], 0x44),
                            _mm512_shuffle_f32x4(v[i], v[i + 4], 0xEE));
  }
  // Four lanes are left of each, one of four words.
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; ++i) {
    quarter[i] = _mm512_add_ps(_mm512_shuffle_f32x4(half[i], half[i + 2], 0x88),
                               _mm512_shuffle_f32x4(half[i], half[i + 2], 0xDD));
  }
  __m512 two = _mm512_add_ps(_mm512_unpacklo_ps(quarter[0], quarter[1]),
                             _mm512_unpackhi_ps(quarter[0], quarter[1]));
  __m512 one = _mm512_add_ps(two, _mm512_shuffle_ps(two, two, 0x4E));
  // Words 0 and 1 of each part are the sums of v[i] and v[i + 1], i = 0, 4, 2, 6.
  const __m512i order = _mm512_setr_epi32(0, 1, 8, 9, 4, 5, 12, 13, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps256(_mm512_permutexvar_ps(order, one));
}

// product[rows, at most GRAFT_SLIM of the factor's], of which `row` is at x; rows `next` behind it are asked
// for meanwhile.
GRAFT_TILE void graft_reduce_tile(const graft_row_pass *p, const float *x, int64_t row, int64_t j,
                                  int64_t next, const int rows) {
  __m512 sum[GRAFT_TALL][GRAFT_SLIM];
  const int64_t columns = p->columns, stride = graft_row_pass_stride(columns);
  const float *factor[GRAFT_SLIM];
#pragma clang loop unroll(full)
  for (int i = 0; i < GRAFT_SLIM; ++i) {
    // What is past the last one is computed and not written.
    factor[i] = p->factor + (j + i < p->rank ? j + i : p->rank - 1) * stride;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) sum[r][i] = _mm512_setzero_ps();
  }
  int64_t k = 0;
  for (; k + 16 <= columns; k += 16) {
    __m512 value[GRAFT_TALL];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      value[r] = _mm512_loadu_ps(x + r * columns + k);
      _mm_prefetch((const char *)(x + (next + r) * columns + k), _MM_HINT_T0);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < GRAFT_SLIM; ++i) {
      __m512 other = _mm512_loadu_ps(factor[i] + k);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) sum[r][i] = _mm512_fmadd_ps(value[r], other, sum[r][i]);
    }
  }
  if (k < columns) {
    const __mmask16 some = graft_some_lanes(columns - k);
#pragma clang loop unroll(full)
    for (int i = 0; i < GRAFT_SLIM; ++i) {
      __m512 other = _mm512_maskz_loadu_ps(some, factor[i] + k);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        sum[r][i] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, x + r * columns + k), other,
                                    sum[r][i]);
      }
    }
  }
  const int64_t count = p->rank - j < GRAFT_SLIM ? p->rank - j : GRAFT_SLIM;
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    _mm256_mask_storeu_ps(p->product + (row + r) * p->product_row + j,
                          (__mmask8)graft_some_lanes(count), graft_sums_of_lanes(sum[r]));
  }
}

// sums[at most GRAFT_SLIM of left's columns, `vectors` times 16 columns of x] over rows row ..< end, which
// are at x.
GRAFT_TILE void graft_outer_tile(const graft_row_pass *p, const float *x, int64_t row, int64_t end,
                                 int64_t j, int64_t column, bool begins, float *sums,
                                 const int vectors) {
  __m512 sum[GRAFT_SLIM][GRAFT_TALL];
  const int64_t stride = graft_row_pass_stride(p->columns);
  const __mmask16 some = graft_some_lanes(p->columns - column - 16 * (vectors - 1));
  int64_t place[GRAFT_SLIM];
#pragma clang loop unroll(full)
  for (int i = 0; i < GRAFT_SLIM; ++i) {
    // What is past the last one is computed and not written.
    place[i] = j + i < p->left_rank ? j + i : p->left_rank - 1;
    const float *from = sums + place[i] * stride + column;
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) {
      sum[i][n] = begins ? _mm512_setzero_ps() : _mm512_loadu_ps(from + 16 * n);
    }
  }
  const float *left = p->left + row * p->left_row;
  x += column;
  for (int64_t m = row; m < end; ++m, x += p->columns, left += p->left_row) {
    __m512 value[GRAFT_TALL];
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) {
      value[n] = _mm512_maskz_loadu_ps(n == vectors - 1 ? some : 0xFFFF, x + 16 * n);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < GRAFT_SLIM; ++i) {
      __m512 other = _mm512_set1_ps(left[place[i]]);
#pragma clang loop unroll(full)
      for (int n = 0; n < vectors; ++n) sum[i][n] = _mm512_fmadd_ps(value[n], other, sum[i][n]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < GRAFT_SLIM; ++i) {
    if (j + i >= p->left_rank) break;
    float *to = sums + (j + i) * stride + column;
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) _mm512_storeu_ps(to + 16 * n, sum[i][n]);
  }
}

// product for rows row ..< end, which are at x and have `ahead` rows behind them.
TARGET_AVX512 static void graft_multiply_by_factor(const graft_row_pass *p, const float *x,
                                                   int64_t row, int64_t end, int64_t ahead) {
  for (; row < end; row += GRAFT_TALL, x += GRAFT_TALL * p->columns) {
    const int64_t next = row + 2 * GRAFT_TALL <= end + ahead ? GRAFT_TALL : 0;
    for (int64_t j = 0; j < p->rank; j += GRAFT_SLIM) {
      switch (end - row) {
        case 1: graft_reduce_tile(p, x, row, j, 0, 1); break;
        case 2: graft_reduce_tile(p, x, row, j, 0, 2); break;
        default: graft_reduce_tile(p, x, row, j, j == 0 ? next : 0, GRAFT_TALL); break;
      }
    }
  }
}

// sums for rows row ..< end, which are at x, added to what is there unless they are the first.
TARGET_AVX512 static void graft_add_outer(const graft_row_pass *p, const float *x, int64_t row,
                                          int64_t end, bool begins, float *sums) {
  for (int64_t column = 0; column < p->columns; column += 16 * GRAFT_TALL) {
    const int64_t vectors = (p->columns - column + 15) / 16;
    for (int64_t j = 0; j < p->left_rank; j += GRAFT_SLIM) {
      switch (vectors) {
        case 1: graft_outer_tile(p, x, row, end, j, column, begins, sums, 1); break;
        case 2: graft_outer_tile(p, x, row, end, j, column, begins, sums, 2); break;
        default: graft_outer_tile(p, x, row, end, j, column, begins, sums, GRAFT_TALL); break;
      }
    }
  }
}
#endif

#endif
