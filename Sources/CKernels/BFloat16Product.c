// Products of matrices in bfloat16, whose weights are float32 in memory.
//
// As with 8-bit numbers a panel of 64 outputs is put into the order of the processor's dot products,
// pairs of neighbouring k of every output.
#include <string.h>

#include "InstructionSet.h"
#include "NarrowColumns.h"
#include "PanelFetch.h"
#include "TransposeWords.h"
#include "VectorMath.h"
#include "include/BFloat16Kernels.h"
#include "include/CKernels.h"

// Outputs of a panel, and rows of a tile.
enum { PANEL = 64, TILE_ROWS = 6 };

static int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

bool graft_has_bfloat16_dot(void) {
#ifdef GRAFT_X86
  return graft_best_instruction_set() == GRAFT_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

int64_t graft_bfloat16_parts(const graft_bfloat16_product *p) {
  return parts(p->outputs, PANEL) * p->row_parts;
}

int64_t graft_bfloat16_workspace(const graft_bfloat16_product *p) {
  return PANEL * (parts(p->depth, 2) * 4 + p->term.rank * (int64_t)sizeof(float)) + 64;
}

#ifdef GRAFT_X86
#define TARGET_BF16 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))

TARGET_BF16 static int64_t round_avx512(const float *x, int64_t first, int64_t end, uint16_t *y) {
  int64_t i = first;
  for (; i + 16 <= end; i += 16) {
    _mm256_storeu_si256((__m256i *)(y + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
  }
  return i;
}

static inline __mmask16 lanes(int64_t count) {
  return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

// 32 numbers of a row of the weight from k on; zeros past its end.
TARGET_BF16 static inline __m512i load_pairs(const graft_bfloat16_product *p, int64_t row,
                                             int64_t k, bool exists) {
  const int64_t place = row * p->depth + k, rest = exists ? p->depth - k : 0;
  if (p->rounded != NULL) {
    __mmask32 some = lanes(rest) | (__mmask32)lanes(rest - 16) << 16;
    return _mm512_maskz_loadu_epi16(some, p->rounded + place);
  }
  __m512 low = _mm512_maskz_loadu_ps(lanes(rest), p->weight + place);
  __m512 high = _mm512_maskz_loadu_ps(lanes(rest - 16), p->weight + place + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// Both: panel[k / 2][n] is the pair k, k + 1 of output n; zeros past the ends.
TARGET_BF16 static void pack_rows(const graft_bfloat16_product *p, int64_t output, int64_t count,
                                  uint32_t *panel) {
  const int64_t pairs = parts(p->depth, 2);
  for (int64_t part = 0; part < PANEL; part += 16) {
    for (int64_t k = 0; k < p->depth; k += 32) {
      __m512i r[16];
      for (int i = 0; i < 16; ++i) {
        r[i] = load_pairs(p, output + part + i, k, part + i < count);
      }
      graft_transpose_words(r);
      int64_t some = pairs - k / 2 < 16 ? pairs - k / 2 : 16;
      for (int64_t g = 0; g < some; ++g) {
        _mm512_storeu_si512(panel + (k / 2 + g) * PANEL + part, r[g]);
      }
    }
  }
}

TARGET_BF16 static void pack_columns(const graft_bfloat16_product *p, int64_t output,
                                     int64_t count, uint32_t *panel) {
  for (int64_t k = 0; k < p->depth; k += 2) {
    const float *row = p->weight + k * p->outputs + output;
    for (int64_t n = 0; n < PANEL; n += 16) {
      __mmask16 some = lanes(count - n);
      __m512 even = _mm512_maskz_loadu_ps(some, row + n);
      __m512 odd = _mm512_maskz_loadu_ps(k + 1 < p->depth ? some : 0, row + p->outputs + n);
      __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
      __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
      _mm512_storeu_si512(panel + k / 2 * PANEL + n,
                          _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  }
}

// One tile: `rows` rows of x with a panel, what low rank adds, and y.
TARGET_BF16 static inline __attribute__((always_inline)) void multiply(
    const graft_bfloat16_product *p, const int rows, int64_t row, int64_t output, int64_t count,
    const uint32_t *panel, const float *columns, graft_panel_fetch *fetch) {
  __m512 sum[TILE_ROWS][4];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    for (int n = 0; n < 4; ++n) sum[r][n] = _mm512_setzero_ps();
  }
  const uint16_t *x = p->x + row * p->depth;
  const int64_t bytes = rows * p->depth * (int64_t)sizeof(*x);
  graft_fetch_tile(p->y + row * p->outputs + output, p->outputs, rows, 4);
  int64_t k = 0;
  for (; k + 2 <= p->depth; k += 2) {
    const uint32_t *w = panel + k / 2 * PANEL;
    graft_fetch_line(fetch);
    if (k % 16 == 0) graft_fetch_rows_ahead(x + rows * p->depth, bytes, k / 16, 3);
    __m512i weight[4] = {_mm512_load_si512(w), _mm512_load_si512(w + 16),
                         _mm512_load_si512(w + 32), _mm512_load_si512(w + 48)};
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      int32_t pair;
      memcpy(&pair, x + r * p->depth + k, 4);
      __m512i value = _mm512_set1_epi32(pair);
#pragma clang loop unroll(full)
      for (int n = 0; n < 4; ++n) {
        sum[r][n] = _mm512_dpbf16_ps(sum[r][n], (__m512bh)weight[n], (__m512bh)value);
      }
    }
  }
  if (k < p->depth) {
    const uint32_t *w = panel + k / 2 * PANEL;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      __m512i value = _mm512_set1_epi32(x[r * p->depth + k]);
#pragma clang loop unroll(full)
      for (int n = 0; n < 4; ++n) {
        sum[r][n] = _mm512_dpbf16_ps(sum[r][n], (__m512bh)_mm512_loadu_si512(w + 16 * n),
                                     (__m512bh)value);
      }
    }
  }
  for (int64_t c = 0; c < p->term.rank; ++c) {
    const float *narrow = p->term.rows + row * p->term.stride + c;
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) {
      __m512 column = _mm512_loadu_ps(columns + c * PANEL + 16 * n);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        sum[r][n] = _mm512_fmadd_ps(_mm512_set1_ps(narrow[r * p->term.stride]), column, sum[r][n]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    float *y = p->y + (row + r) * p->outputs + output;
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) {
      __mmask16 some = lanes(count - 16 * n);
      if (p->row_scale != NULL) {
        sum[r][n] = _mm512_fmadd_ps(_mm512_set1_ps(p->row_scale[row + r]),
                                    _mm512_maskz_loadu_ps(some, y + 16 * n), sum[r][n]);
      }
      _mm512_mask_storeu_ps(y + 16 * n, some, sum[r][n]);
    }
  }
}

static graft_panel_fetch panel_fetch(const graft_bfloat16_product *p, int64_t output) {
  const int64_t size = p->rounded != NULL ? sizeof(uint16_t) : sizeof(float);
  if (output >= p->outputs) return (graft_panel_fetch){0};
  if (p->transposed) return graft_fetch_rows(p->weight + output, p->depth, p->outputs * size, 2);
  const int64_t count = p->outputs - output < PANEL ? p->outputs - output : PANEL;
  const char *weight = p->rounded != NULL ? (const char *)p->rounded : (const char *)p->weight;
  return graft_fetch_stretch(weight + output * p->depth * size, count * p->depth * size);
}

TARGET_BF16 static void multiply_avx512(const graft_bfloat16_product *p, int64_t first,
                                        int64_t end, int64_t next, uint32_t *panel,
                                        float *columns) {
  const int64_t row_parts = p->row_parts, rows = parts(p->rows, row_parts);
  int64_t current = -1;
  for (int64_t part = first; part < end; ++part) {
    int64_t output = part / row_parts * PANEL;
    int64_t count = p->outputs - output < PANEL ? p->outputs - output : PANEL;
    if (output != current) {
      current = output;
      if (p->transposed) pack_columns(p, output, count, panel);
      else pack_rows(p, output, count, panel);
      graft_narrow_columns(&p->term, output, count, PANEL, columns);
    }
    graft_panel_fetch fetch = panel_fetch(p, (part + 1 < end ? part + 1 : next) / row_parts * PANEL);
    int64_t row = part % row_parts * rows, stop = row + rows < p->rows ? row + rows : p->rows;
    for (; row + TILE_ROWS <= stop; row += TILE_ROWS) {
      multiply(p, TILE_ROWS, row, output, count, panel, columns, &fetch);
    }
    for (; row < stop; ++row) multiply(p, 1, row, output, count, panel, columns, &fetch);
  }
}
#endif

void graft_round_to_bfloat16(const float *x, int64_t first, int64_t end, uint16_t *y) {
#ifdef GRAFT_X86
  if (graft_has_bfloat16_dot()) first = round_avx512(x, first, end, y);
#endif
  for (int64_t i = first; i < end; ++i) y[i] = graft_rounded_to_bfloat16(x[i]);
}

void graft_bfloat16_multiply(const graft_bfloat16_product *p, int64_t first, int64_t end,
                             int64_t next, void *workspace) {
#ifdef GRAFT_X86
  uint32_t *panel = (uint32_t *)(((uintptr_t)workspace + 63) / 64 * 64);
  float *columns = (float *)(panel + parts(p->depth, 2) * PANEL);
  multiply_avx512(p, first, end, next, panel, columns);
#else
  (void)p, (void)first, (void)end, (void)next, (void)workspace;
#endif
}
