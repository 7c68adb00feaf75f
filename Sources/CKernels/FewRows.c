// Products of few rows with a matrix in float32, which is read from memory once.
#include "include/DecodingKernels.h"
#include "VectorVariants.h"

#pragma clang fp contract(fast)

// Numbers that are multiplied at a time; compilers make as many vectors of it as the processor needs.
typedef float lanes __attribute__((vector_size(64), aligned(4)));
enum { LANES = 16 };

// How far in front of what is read memory is asked for, in floats: processors stop by themselves at the
// end of each page.
enum { AHEAD = 4096 };

GRAFT_INLINE float sum(const lanes *v) {
  lanes a = *v;
  __attribute__((vector_size(32))) float b = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7) +
                                             __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15);
  __attribute__((vector_size(16))) float c =
      __builtin_shufflevector(b, b, 0, 1, 2, 3) + __builtin_shufflevector(b, b, 4, 5, 6, 7);
  __attribute__((vector_size(8))) float d =
      __builtin_shufflevector(c, c, 0, 1) + __builtin_shufflevector(c, c, 2, 3);
  return d[0] + d[1];
}

// `outputs` outputs of `rows` rows: both are constants where this is expanded.
GRAFT_INLINE void tile(const graft_row_product *p, int64_t row, const int rows, int64_t output,
                       const int outputs) {
  const int64_t depth = p->depth, whole = depth / LANES * LANES;
  const float *x = p->x + row * depth, *w = p->weight + output * depth;
  lanes sums[4][4];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
    for (int n = 0; n < outputs; ++n) sums[r][n] = (lanes){0};
  }
  for (int64_t k = 0; k < whole; k += LANES) {
    lanes weight[4];
#pragma clang loop unroll(full)
    for (int n = 0; n < outputs; ++n) {
      weight[n] = *(const lanes *)(w + n * depth + k);
      __builtin_prefetch(w + n * depth + k + AHEAD);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      const lanes value = *(const lanes *)(x + r * depth + k);
#pragma clang loop unroll(full)
      for (int n = 0; n < outputs; ++n) sums[r][n] += value * weight[n];
    }
  }
#pragma clang loop unroll(full)
  for (int n = 0; n < outputs; ++n) {
    const float bias = p->bias ? p->bias[output + n] : 0;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      float total = sum(&sums[r][n]);
      for (int64_t k = whole; k < depth; ++k) total += x[r * depth + k] * w[n * depth + k];
      p->y[(row + r) * p->outputs + output + n] = total + bias;
    }
  }
}

// All rows of some outputs, four at a time: from the second time on the weight is near the processor.
GRAFT_INLINE void outputs_of(const graft_row_product *p, int64_t output, const int outputs) {
  int64_t row = 0;
  for (; row + 4 <= p->rows; row += 4) tile(p, row, 4, output, outputs);
  switch (p->rows - row) {
    case 1: tile(p, row, 1, output, outputs); break;
    case 2: tile(p, row, 2, output, outputs); break;
    case 3: tile(p, row, 3, output, outputs); break;
    default: break;
  }
}

GRAFT_INLINE void graft_multiply_few_rows_body(const graft_row_product *p, int64_t first,
                                               int64_t end) {
  int64_t output = first;
  for (; output + 4 <= end; output += 4) outputs_of(p, output, 4);
  for (; output < end; ++output) outputs_of(p, output, 1);
}

GRAFT_VARIANTS(graft_multiply_few_rows,
               (const graft_row_product *p, int64_t first, int64_t end), (p, first, end))

GRAFT_INLINE void graft_add_low_rank_body(const float *narrow, int64_t narrow_stride,
                                          const float *b, int64_t rank, float scale, int64_t rows,
                                          int64_t outputs, int64_t first, int64_t end, float *y) {
  enum { AT_ONCE = 64 };
  for (int64_t begin = first; begin < end; begin += AT_ONCE) {
    const int64_t count = end - begin < AT_ONCE ? end - begin : AT_ONCE;
    for (int64_t row = 0; row < rows; ++row) {
      float added[AT_ONCE] = {0};
      for (int64_t j = 0; j < rank; ++j) {
        const float factor = narrow[row * narrow_stride + j];
        const float *from = b + j * outputs + begin;
        if (count == AT_ONCE) {
          for (int n = 0; n < AT_ONCE; ++n) added[n] += factor * from[n];
        } else {
          for (int64_t n = 0; n < count; ++n) added[n] += factor * from[n];
        }
      }
      float *to = y + row * outputs + begin;
      for (int64_t n = 0; n < count; ++n) to[n] += scale * added[n];
    }
  }
}

GRAFT_VARIANTS(graft_add_low_rank,
               (const float *narrow, int64_t narrow_stride, const float *b, int64_t rank,
                float scale, int64_t rows, int64_t outputs, int64_t first, int64_t end, float *y),
               (narrow, narrow_stride, b, rank, scale, rows, outputs, first, end, y))

GRAFT_INLINE void graft_add_scaled_body(const float *y, float scale, int64_t first, int64_t end,
                                        float *x) {
  for (int64_t i = first; i < end; ++i) x[i] += scale * y[i];
}

GRAFT_VARIANTS(graft_add_scaled,
               (const float *y, float scale, int64_t first, int64_t end, float *x),
               (y, scale, first, end, x))
