// What low rank needs of a matrix in one pass over its rows: some rows at a time stay in the second cache
// while they are multiplied with both narrow matrices and rounded to codes.
#include "RowTile.h"

#include "include/CKernels.h"

// Numbers of x that are worked on at a time.
enum { STRETCH = 160 << 10 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

bool graft_has_row_pass(void) {
#ifdef GRAFT_X86
  return graft_best_instruction_set() == GRAFT_AVX512;
#else
  return false;
#endif
}

int64_t graft_row_pass_stride(int64_t columns) {
  // An odd number of lines.
  return ((columns + 15) / 16 | 1) * 16;
}

int64_t graft_row_pass_blocks(const graft_row_pass *p) {
  return (p->rows + GRAFT_ROW_BLOCK - 1) / GRAFT_ROW_BLOCK;
}

int64_t graft_row_pass_rows(int64_t columns) {
  int64_t rows = STRETCH / columns / GRAFT_TALL * GRAFT_TALL;
  return rows < GRAFT_TALL ? GRAFT_TALL : least(rows, GRAFT_STRETCH_ROWS);
}

#ifdef GRAFT_X86
static void run(const graft_row_pass *p, const float *x, int64_t first, int64_t end, int64_t ahead) {
  graft_multiply_by_factor(p, x, first, end, ahead);
  if (p->codes != NULL) {
    int8_t *codes = p->codes + first * p->columns;
    graft_quantize_rows(x, GRAFT_FLOAT32, p->column_factor, p->columns, p->threshold, 0, end - first,
                        codes, p->scale + first, p->outlier);
    if (p->code_sums != NULL) {
      graft_int8_row_sums(codes, p->columns, 0, end - first, p->code_sums + first);
    }
  }
  if (p->left_rank > 0) {
    const int64_t size = p->left_rank * graft_row_pass_stride(p->columns);
    graft_add_outer(p, x, first, end, first % GRAFT_ROW_BLOCK == 0,
                    p->sums + first / GRAFT_ROW_BLOCK * size);
  }
}

// 16 columns of the total: element (i, j) for `count` of i and all j.
TARGET_AVX512 static void total(const graft_row_pass *p, float scale, int64_t column, int64_t count,
                                int64_t row, int64_t step, float *result) {
  const int64_t blocks = graft_row_pass_blocks(p), stride = graft_row_pass_stride(p->columns);
  const int64_t size = p->left_rank * stride;
  const __mmask16 some = graft_some_lanes(count);
  const __m512 factor = _mm512_set1_ps(scale);
  for (int64_t j = 0; j < p->left_rank; j += 16) {
    const int64_t width = least(p->left_rank - j, 16);
    __m512i sum[16];
    for (int64_t i = 0; i < 16; ++i) {
      __m512 value = _mm512_setzero_ps();
      const float *from = p->sums + (j + i) * stride + column;
      for (int64_t b = 0; i < width && b < blocks; ++b) {
        __m512 more = _mm512_loadu_ps(from + b * size);
        value = b == 0 ? more : _mm512_add_ps(value, more);
      }
      value = _mm512_mul_ps(value, factor);
      sum[i] = _mm512_castps_si512(value);
    }
    if (row == 1) {
      for (int64_t i = 0; i < width; ++i) {
        _mm512_mask_storeu_epi32(result + column + (j + i) * step, some, sum[i]);
      }
      continue;
    }
    graft_transpose_words(sum);
    for (int64_t i = 0; i < count; ++i) {
      _mm512_mask_storeu_epi32(result + (column + i) * row + j, graft_some_lanes(width), sum[i]);
    }
  }
}

// Rows of f as they lie.
TARGET_AVX512 static void pack_rows(const float *f, int64_t row, int64_t columns, int64_t rank,
                                    float scale, float *result) {
  const __m512 factor = _mm512_set1_ps(scale);
  const int64_t stride = graft_row_pass_stride(columns);
  for (int64_t j = 0; j < rank; ++j) {
    for (int64_t k = 0; k < columns; k += 16) {
      __m512 some = _mm512_maskz_loadu_ps(graft_some_lanes(columns - k), f + j * row + k);
      _mm512_storeu_ps(result + j * stride + k, _mm512_mul_ps(some, factor));
    }
  }
}

// Of f whose columns have their numbers side by side.
TARGET_AVX512 static void pack_columns(const float *f, int64_t step, int64_t columns, int64_t rank,
                                       float scale, float *result) {
  const __m512 factor = _mm512_set1_ps(scale);
  const int64_t stride = graft_row_pass_stride(columns);
  for (int64_t k = 0; k < columns; k += 16) {
    for (int64_t j = 0; j < rank; j += 16) {
      const int64_t width = least(rank - j, 16);
      __m512i r[16];
      for (int64_t i = 0; i < 16; ++i) {
        const __mmask16 some = k + i < columns ? graft_some_lanes(width) : 0;
        __m512 value = _mm512_maskz_loadu_ps(some, f + (k + i) * step + j);
        r[i] = _mm512_castps_si512(_mm512_mul_ps(value, factor));
      }
      graft_transpose_words(r);
      for (int64_t i = 0; i < width; ++i) _mm512_storeu_si512(result + (j + i) * stride + k, r[i]);
    }
  }
}
#endif

void graft_row_pass_run(const graft_row_pass *p, const float *x, int64_t first, int64_t end,
                        int64_t ahead) {
#ifdef GRAFT_X86
  run(p, x, first, end, ahead);
#else
  (void)p, (void)x, (void)first, (void)end, (void)ahead;
#endif
}

void graft_row_pass_total(const graft_row_pass *p, float scale, int64_t row, int64_t step,
                          int64_t first, int64_t end, float *result) {
#ifdef GRAFT_X86
  for (int64_t column = first; column < end; column += 16) {
    total(p, scale, column, least(end - column, 16), row, step, result);
  }
#else
  (void)p, (void)scale, (void)row, (void)step, (void)first, (void)end, (void)result;
#endif
}

void graft_pack_factor(const float *f, int64_t row, int64_t step, int64_t columns, int64_t rank,
                       float scale, float *result) {
#ifdef GRAFT_X86
  if (step == 1) pack_rows(f, row, columns, rank, scale, result);
  else pack_columns(f, step, columns, rank, scale, result);
#else
  (void)f, (void)row, (void)step, (void)columns, (void)rank, (void)scale, (void)result;
#endif
}
