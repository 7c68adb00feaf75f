// Products of small float32 matrices that lie in the nearest caches, the inside of attention.
//
// Written with the compiler's vectors, so that it is one source for every instruction set. Products are
// fused with sums where the set can: results differ from set to set in the last digits.
#ifndef GRAFT_MATRIX_TILE_H
#define GRAFT_MATRIX_TILE_H

#include "VectorMath.h"

enum { GRAFT_WIDTH = 16 };
typedef float graft_vector __attribute__((vector_size(GRAFT_WIDTH * sizeof(float))));

// A macro, as no function may pass wide vectors where the set has none.
#define GRAFT_LOAD(target, source) memcpy(&(target), (source), sizeof(graft_vector))
#define GRAFT_STORE(target, source) memcpy((target), &(source), sizeof(graft_vector))

// c[rows, 16 columns] = or += a[rows, depth] b[depth, 16 columns]; element (i, k) of a is at
// i * a_row + k * a_step. `rows`, `columns` and `adds` are known when it is compiled.
GRAFT_INLINE void graft_tile(const float *a, int64_t a_row, int64_t a_step, const float *b,
                             int64_t b_row, int64_t depth, float *c, int64_t c_row, const int rows,
                             const int columns, const int adds) {
#pragma STDC FP_CONTRACT ON
  graft_vector sums[8][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) {
      if (adds) GRAFT_LOAD(sums[i][j], c + i * c_row + j * GRAFT_WIDTH);
      else sums[i][j] = (graft_vector){0};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    graft_vector others[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) GRAFT_LOAD(others[j], b + k * b_row + j * GRAFT_WIDTH);
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; ++i) {
      float value = a[i * a_row + k * a_step];
#pragma clang loop unroll(full)
      for (int j = 0; j < columns; ++j) sums[i][j] = sums[i][j] + others[j] * value;
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < rows; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) GRAFT_STORE(c + i * c_row + j * GRAFT_WIDTH, sums[i][j]);
  }
}

// The same for any number of rows, in tiles of `tall`; `tall` and `wide` are known when it is compiled.
GRAFT_INLINE void graft_tiles(const float *a, int64_t a_row, int64_t a_step, const float *b,
                              int64_t b_row, int64_t depth, float *c, int64_t c_row, int64_t rows,
                              const int adds, const int tall, const int wide) {
  int64_t i = 0;
  for (; i + tall <= rows; i += tall) {
    graft_tile(a + i * a_row, a_row, a_step, b, b_row, depth, c + i * c_row, c_row, tall, wide,
               adds);
  }
  for (; i < rows; ++i) {
    graft_tile(a + i * a_row, a_row, a_step, b, b_row, depth, c + i * c_row, c_row, 1, wide, adds);
  }
}

// The same for any number of columns that is a multiple of 16, in tiles of at most `wide` vectors.
GRAFT_INLINE void graft_small_product(const float *a, int64_t a_row, int64_t a_step, const float *b,
                                      int64_t b_row, int64_t depth, float *c, int64_t c_row,
                                      int64_t rows, int64_t columns, const int adds, const int tall,
                                      const int wide) {
  int64_t j = 0;
  for (; j + wide * GRAFT_WIDTH <= columns; j += wide * GRAFT_WIDTH) {
    graft_tiles(a, a_row, a_step, b + j, b_row, depth, c + j, c_row, rows, adds, tall, wide);
  }
  for (; wide > 2 && j + 2 * GRAFT_WIDTH <= columns; j += 2 * GRAFT_WIDTH) {
    graft_tiles(a, a_row, a_step, b + j, b_row, depth, c + j, c_row, rows, adds, tall, 2);
  }
  for (; wide > 1 && j + GRAFT_WIDTH <= columns; j += GRAFT_WIDTH) {
    graft_tiles(a, a_row, a_step, b + j, b_row, depth, c + j, c_row, rows, adds, tall, 1);
  }
}

#endif
