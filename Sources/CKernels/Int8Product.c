// Products of matrices of 8-bit whole numbers with scales, bias and outlier columns in one pass.
//
// The weight stays as files have it, a row for each output. For many rows of x a panel of 64 outputs
// is put into the order of the processor's dot products first, which costs as much as eight rows of x;
// for few rows the weight is read as it lies.
#include <math.h>
#include <string.h>

#include "Int8Tile.h"
#include "NarrowColumns.h"

enum { PANEL = GRAFT_PANEL };

// As many rows as this are done without a panel.
enum { FEW = 4 };

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

// Decided by the caller, so that it is the same for all parts and their workspace.
static bool uses_dots(const graft_int8_product *p) { return p->x_sums != NULL; }

static bool uses_panels(const graft_int8_product *p) {
  return p->transposed || (p->rows > FEW && uses_dots(p));
}

int64_t graft_int8_parts(const graft_int8_product *p) {
  return parts(p->outputs, PANEL) * p->row_parts;
}

int64_t graft_int8_workspace(const graft_int8_product *p) {
  int64_t panel = uses_panels(p) ? PANEL * parts(p->depth, 4) * 4 : 0;
  return panel + PANEL * (int64_t)sizeof(float) * (1 + p->outlier_count + p->term.rank) + 64;
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
static void finish_row(const graft_int8_product *p, const int32_t *sums, int64_t row,
                       int64_t output, int64_t count, const float *scale, const float *columns) {
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
// The same to the bit.
TARGET_AVX512 static void finish_row_avx512(const graft_int8_product *p, const int32_t *sums,
                                            int64_t row, int64_t output, int64_t count,
                                            const float *scale, const float *columns) {
  const float *factor = columns + p->outlier_count * PANEL;
  const __m512 row_scale = _mm512_set1_ps(p->x_scale[row] * (1.0f / 127));
  for (int64_t n = 0; n < count; n += 16) {
    __mmask16 lanes = count - n >= 16 ? 0xFFFF : (__mmask16)((1u << (count - n)) - 1);
    float *y = p->y + row * p->outputs + output + n;
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + n)),
                                 _mm512_mul_ps(row_scale, _mm512_loadu_ps(scale + n)));
    if (p->bias != NULL) {
      value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, p->bias + output + n));
    }
    for (int64_t c = 0; c < p->outlier_count; ++c) {
      value = _mm512_fmadd_ps(_mm512_set1_ps(p->outlier[row * p->outlier_count + c]),
                              _mm512_loadu_ps(columns + c * PANEL + n), value);
    }
    for (int64_t r = 0; r < p->term.rank; ++r) {
      value = _mm512_fmadd_ps(_mm512_set1_ps(p->term.rows[row * p->term.stride + r]),
                              _mm512_loadu_ps(factor + r * PANEL + n), value);
    }
    if (p->adds) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, y));
    _mm512_mask_storeu_ps(y, lanes, value);
  }
}
#endif

static void finish(const graft_int8_product *p, const int32_t *sums, int64_t rows, int64_t row,
                   int64_t output, int64_t count, const float *scale, const float *columns) {
  for (int64_t r = 0; r < rows; ++r) {
#ifdef GRAFT_X86
    if (graft_instruction_set() == GRAFT_AVX512) {
      finish_row_avx512(p, sums + r * PANEL, row + r, output, count, scale, columns);
      continue;
    }
#endif
    finish_row(p, sums + r * PANEL, row + r, output, count, scale, columns);
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

static graft_panel_fetch panel_fetch(const graft_int8_product *p, int64_t output) {
  if (output >= p->outputs) return (graft_panel_fetch){0};
  if (p->transposed) return graft_fetch_rows(p->weight + output, p->depth, p->outputs, 0);
  return graft_fetch_stretch(p->weight + output * p->depth,
                             least(p->outputs - output, PANEL) * p->depth);
}

// Some rows of y, of at most FEW at a time.
static void multiply_rows(const graft_int8_product *p, const graft_int8_panel *panel,
                          const int8_t *weight, int64_t row, int64_t end) {
  int32_t sums[FEW * PANEL];
  for (; row < end; row += FEW) {
    int64_t rows = least(end - row, FEW);
    graft_multiply_rows(p->x + row * p->depth, rows, p->depth, weight, panel->count, sums);
    finish(p, sums, rows, row, panel->output, panel->count, panel->scale, panel->columns);
  }
}

void graft_int8_multiply(const graft_int8_product *p, int64_t first, int64_t end, int64_t next,
                         void *workspace) {
  const int64_t count = p->row_parts, rows = parts(p->rows, count);
  const bool dot = uses_dots(p), panels = uses_panels(p);
  float *scale = workspace, *columns = scale + PANEL;
  // Its loads are of whole vectors.
  uint8_t *codes = (uint8_t *)(((uintptr_t)(columns + PANEL * (p->outlier_count + p->term.rank)) +
                                63) / 64 * 64);
  graft_int8_panel panel = {.codes = codes, .output = -1, .scale = scale, .columns = columns};
  for (int64_t part = first; part < end; ++part) {
    int64_t output = part / count * PANEL;
    if (output != panel.output) {
      panel.output = output;
      panel.count = least(p->outputs - output, PANEL);
      prepare_epilogue(p, output, panel.count, scale, columns);
      if (panels && dot) graft_pack_panel(p, output, panel.count, codes);
      else if (panels) transpose_panel(p, output, panel.count, (int8_t *)codes);
    }
    panel.fetch = panel_fetch(p, (part + 1 < end ? part + 1 : next) / count * PANEL);
    int64_t row = part % count * rows, stop = least(p->rows, row + rows);
    if (panels && dot) {
      graft_multiply_panel(p, &panel, row, stop);
    } else {
      multiply_rows(p, &panel, panels ? (int8_t *)codes : p->weight + output * p->depth, row, stop);
    }
  }
}

int64_t graft_int8_few_rows_workspace(const graft_int8_product *p) {
  return PANEL * (int64_t)sizeof(float) * (1 + p->outlier_count + p->term.rank);
}

void graft_int8_multiply_few_rows(const graft_int8_product *p, int64_t first, int64_t end,
                                  void *workspace) {
  float *scale = workspace, *columns = scale + PANEL;
  for (int64_t output = first; output < end; output += PANEL) {
    graft_int8_panel panel = {.output = output, .count = least(end - output, PANEL),
                              .scale = scale, .columns = columns};
    prepare_epilogue(p, output, panel.count, scale, columns);
    multiply_rows(p, &panel, p->weight + output * p->depth, 0, p->rows);
  }
}
