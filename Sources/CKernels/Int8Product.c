// Products of matrices of 8-bit whole numbers with scales, bias and outlier columns in one pass.
//
// The weight stays as files have it, a row for each output. For many rows of x a panel of 64 outputs
// is put into the order of the processor's dot products first, which costs as much as eight rows of x;
// for few rows the weight is read as it lies.
#include <math.h>
#include <string.h>

#include "Int8Tile.h"
#include "NarrowColumns.h"

// Outputs of a panel, and rows of x that one part does.
enum { PANEL = GRAFT_PANEL, ROWS = 96 };

// As many rows as this are done without a panel.
enum { FEW = 4 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

static bool uses_panels(const graft_int8_product *p) {
  return p->transposed || (p->rows > FEW && graft_has_int8_dot());
}

int64_t graft_int8_parts(const graft_int8_product *p) {
  return parts(p->outputs, PANEL) * parts(p->rows, ROWS);
}

int64_t graft_int8_workspace(const graft_int8_product *p) {
  int64_t panel = uses_panels(p) ? PANEL * parts(p->depth, 4) * 4 : 0;
  int64_t offsets = p->rows * (int64_t)sizeof(int32_t);
  return panel + offsets + PANEL * (int64_t)sizeof(float) * (1 + p->outlier_count + p->term.rank) + 64;
}

// What the outputs of one panel need besides codes: their scales, and a row for each outlier column and
// each of `rank`, all of PANEL entries, zero past the end.
static void prepare_epilogue(const graft_int8_product *p, int64_t output, int64_t count,
                             float *scale, float *columns) {
  for (int64_t n = 0; n < PANEL; ++n) {
    float whole = p->weight_scale == NULL ? 127 : n < count ? p->weight_scale[output + n] : 0;
    scale[n] = whole * (1.0f / 127);
  }
  for (int64_t c = 0; c < p->outlier_count; ++c) {
    for (int64_t n = 0; n < PANEL; ++n) {
      int64_t row = output + n, column = p->outlier_column[c];
      int8_t code = n >= count       ? 0
                    : p->transposed  ? p->weight[column * p->outputs + row]
                                     : p->weight[row * p->depth + column];
      columns[c * PANEL + n] = code * scale[n];
    }
  }
  graft_narrow_columns(&p->term, output, count, PANEL, columns + p->outlier_count * PANEL);
}

#pragma STDC FP_CONTRACT OFF

// Sums of one row and one panel to numbers.
static void finish_scalar(const graft_int8_product *p, const int32_t *sums, int64_t row,
                          int64_t output, int64_t count, const float *scale,
                          const float *columns) {
  float *y = p->y + row * p->outputs + output;
  const float *factor = columns + p->outlier_count * PANEL;
  float row_scale = p->x_scale[row] * (1.0f / 127);
  for (int64_t n = 0; n < count; ++n) {
    float value = (float)sums[n] * (row_scale * scale[n]);
    if (p->bias != NULL) value = value + p->bias[output + n];
    for (int64_t c = 0; c < p->outlier_count; ++c) {
      value = fmaf(p->outlier[row * p->outlier_count + c], columns[c * PANEL + n], value);
    }
    for (int64_t r = 0; r < p->term.rank; ++r) {
      value = fmaf(p->term.rows[row * p->term.stride + r], factor[r * PANEL + n], value);
    }
    y[n] = p->adds ? value + y[n] : value;
  }
}

#ifdef GRAFT_X86
// values[r] += x[r, c] * columns[c] over c, for the vector of a panel that `columns` points to.
TARGET_AVX512 static inline __attribute__((always_inline)) void add_columns(
    __m512 values[GRAFT_TILE_ROWS], const int rows, const float *x, int64_t stride, int64_t count,
    const float *columns) {
  for (int64_t c = 0; c < count; ++c) {
    __m512 column = _mm512_loadu_ps(columns + c * PANEL);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      values[r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * stride + c]), column, values[r]);
    }
  }
}

TARGET_AVX512 static inline __attribute__((always_inline)) void finish_avx512(
    const graft_int8_product *p, const int32_t *sums, const int rows, int64_t row, int64_t output,
    int64_t count, const float *scale, const float *columns) {
  for (int64_t n = 0; n < count; n += 16) {
    __mmask16 lanes = count - n >= 16 ? 0xFFFF : (__mmask16)((1u << (count - n)) - 1);
    float *y = p->y + row * p->outputs + output + n;
    __m512 values[GRAFT_TILE_ROWS], whole = _mm512_loadu_ps(scale + n);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      __m512 factor = _mm512_mul_ps(_mm512_set1_ps(p->x_scale[row + r] * (1.0f / 127)), whole);
      __m512 sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums + r * PANEL + n));
      values[r] = _mm512_mul_ps(sum, factor);
    }
    if (p->bias != NULL) {
      __m512 bias = _mm512_maskz_loadu_ps(lanes, p->bias + output + n);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) values[r] = _mm512_add_ps(values[r], bias);
    }
    if (p->outlier_count > 0) {
      add_columns(values, rows, p->outlier + row * p->outlier_count, p->outlier_count,
                  p->outlier_count, columns + n);
    }
    if (p->term.rank > 0) {
      add_columns(values, rows, p->term.rows + row * p->term.stride, p->term.stride, p->term.rank,
                  columns + p->outlier_count * PANEL + n);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      float *to = y + r * p->outputs;
      if (p->adds) values[r] = _mm512_add_ps(values[r], _mm512_maskz_loadu_ps(lanes, to));
      _mm512_mask_storeu_ps(to, lanes, values[r]);
    }
  }
}

TARGET_AVX512 static void finish_rows_avx512(const graft_int8_product *p, const int32_t *sums,
                                             int64_t rows, int64_t row, int64_t output,
                                             int64_t count, const float *scale,
                                             const float *columns) {
  if (rows == GRAFT_TILE_ROWS) {
    finish_avx512(p, sums, GRAFT_TILE_ROWS, row, output, count, scale, columns);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    finish_avx512(p, sums + r * PANEL, 1, row + r, output, count, scale, columns);
  }
}
#endif

static void finish(const graft_int8_product *p, const int32_t *sums, int64_t rows, int64_t row,
                   int64_t output, int64_t count, const float *scale, const float *columns) {
#ifdef GRAFT_X86
  if (graft_instruction_set() == GRAFT_AVX512) {
    finish_rows_avx512(p, sums, rows, row, output, count, scale, columns);
    return;
  }
#endif
  for (int64_t r = 0; r < rows; ++r) {
    finish_scalar(p, sums + r * PANEL, row + r, output, count, scale, columns);
  }
}

// A panel of a transposed weight as rows, for processors without a panel order of their own.
static void transpose_panel(const graft_int8_product *p, int64_t output, int64_t count,
                            int8_t *panel) {
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t k = 0; k < p->depth; ++k) {
      panel[n * p->depth + k] = p->weight[k * p->outputs + output + n];
    }
  }
}

void graft_int8_multiply(const graft_int8_product *p, int64_t first, int64_t end,
                         void *workspace) {
  const int64_t row_parts = parts(p->rows, ROWS);
  const bool dot = graft_has_int8_dot(), panels = uses_panels(p);
  float *scale = workspace, *columns = scale + PANEL;
  int32_t *offsets = (int32_t *)(columns + PANEL * (p->outlier_count + p->term.rank));
  // Its loads are of whole vectors.
  uint8_t *panel = (uint8_t *)(((uintptr_t)(offsets + p->rows) + 63) / 64 * 64);
  if (panels && dot) graft_sum_offsets(p->x, p->rows, p->depth, offsets);
  int32_t sums[GRAFT_TILE_ROWS * PANEL];
  int64_t current = -1;
  for (int64_t part = first; part < end; ++part) {
    int64_t output = part / row_parts * PANEL, count = least(p->outputs - output, PANEL);
    if (output != current) {
      current = output;
      prepare_epilogue(p, output, count, scale, columns);
      if (panels && dot) graft_pack_panel(p, output, count, panel);
      else if (panels) transpose_panel(p, output, count, (int8_t *)panel);
    }
    int64_t begin = part % row_parts * ROWS, stop = least(p->rows, begin + ROWS);
    while (begin < stop) {
      int64_t rows = least(stop - begin, panels && dot ? GRAFT_TILE_ROWS : FEW);
      const int8_t *x = p->x + begin * p->depth;
      if (panels && dot) {
        graft_multiply_panel(x, rows, p->depth, panel, offsets + begin, sums);
      } else {
        const int8_t *weight =
            panels ? (const int8_t *)panel : p->weight + output * p->depth;
        graft_multiply_rows(x, rows, p->depth, weight, count, sums);
      }
      finish(p, sums, rows, begin, output, count, scale, columns);
      begin += rows;
    }
  }
}

int64_t graft_int8_few_rows_workspace(const graft_int8_product *p) {
  return PANEL * (int64_t)sizeof(float) * (1 + p->outlier_count + p->term.rank);
}

void graft_int8_multiply_few_rows(const graft_int8_product *p, int64_t first, int64_t end,
                                  void *workspace) {
  float *scale = workspace, *columns = scale + PANEL;
  int32_t sums[FEW * PANEL];
  for (int64_t output = first; output < end; output += PANEL) {
    int64_t count = least(end - output, PANEL);
    prepare_epilogue(p, output, count, scale, columns);
    for (int64_t row = 0; row < p->rows; row += FEW) {
      int64_t rows = least(p->rows - row, FEW);
      graft_multiply_rows(p->x + row * p->depth, rows, p->depth, p->weight + output * p->depth,
                          count, sums);
      finish(p, sums, rows, row, output, count, scale, columns);
    }
  }
}
