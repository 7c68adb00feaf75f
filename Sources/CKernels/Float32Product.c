// Products of float32 matrices: a panel of 48 outputs, in the order of the products, times tiles of
// 8 rows, whose 24 sums stay in registers.
#include "InstructionSet.h"
#include "NarrowColumns.h"
#include "PanelFetch.h"
#include "TransposeWords.h"
#include "VectorMath.h"
#include "include/CKernels.h"
#include "include/Float32Kernels.h"

// Outputs of a panel, and its largest depth: it has to stay in the second cache beside rows of x.
enum { PANEL = 48, DEPTH = 768 };

static int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }

bool graft_has_float32_product(void) {
#ifdef GRAFT_X86
  return graft_best_instruction_set() == GRAFT_AVX512;
#else
  return false;
#endif
}

int64_t graft_float32_parts(const graft_float32_product *p) {
  return parts(p->outputs, PANEL) * p->row_parts;
}

int64_t graft_float32_workspace(const graft_float32_product *p) {
  int64_t depth = p->depth < DEPTH ? p->depth : DEPTH;
  return PANEL * (depth + p->term.rank + 1) * (int64_t)sizeof(float) + 64;
}

#ifdef GRAFT_X86
// The part of a product that a tile does: some outputs and some of the depth.
typedef struct {
  const float *x, *panel;
  int64_t panel_row, depth, output, count;
  // First of several parts of the depth, and the last one.
  bool begins, ends;
  // [rank, PANEL] and [PANEL], for the last part.
  const float *columns, *bias;
  graft_panel_fetch fetch;
  // Whether neighbours along the depth lie side by side in x, so that its lines can be asked for.
  bool fetches_rows;
} tile_work;

static graft_panel_fetch panel_fetch(const graft_float32_product *p, int64_t panel) {
  const int64_t output = panel * PANEL;
  const int64_t row = p->weight_row * (int64_t)sizeof(float);
  if (output >= p->outputs) return (graft_panel_fetch){0};
  if (p->transposed) return graft_fetch_rows(p->weight + output, p->depth, row, 2);
  if (p->weight_row != p->depth) return (graft_panel_fetch){0};
  const int64_t count = p->outputs - output < PANEL ? p->outputs - output : PANEL;
  return graft_fetch_stretch(p->weight + output * p->depth, count * row);
}

TARGET_AVX512 static inline __mmask16 lanes(int64_t count) {
  return count >= 16 ? 0xFFFF : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

// Both: panel[k][n] is scale w[output + n, k], zeros past the last output.
TARGET_AVX512 static void pack_rows(const graft_float32_product *p, const tile_work *work,
                                    int64_t begin, float *panel) {
  const __m512 scale = _mm512_set1_ps(p->scale);
  for (int64_t part = 0; part < PANEL; part += 16) {
    for (int64_t k = 0; k < work->depth; k += 16) {
      __m512i r[16];
      __mmask16 some = lanes(work->depth - k);
      for (int i = 0; i < 16; ++i) {
        const float *row = p->weight + (work->output + part + i) * p->weight_row + begin + k;
        r[i] = _mm512_castps_si512(
            part + i < work->count ? _mm512_mul_ps(_mm512_maskz_loadu_ps(some, row), scale)
                                   : _mm512_setzero_ps());
      }
      graft_transpose_words(r);
      int64_t count = work->depth - k < 16 ? work->depth - k : 16;
      for (int64_t i = 0; i < count; ++i) {
        _mm512_store_si512(panel + (k + i) * PANEL + part, r[i]);
      }
    }
  }
}

TARGET_AVX512 static void pack_columns(const graft_float32_product *p, const tile_work *work,
                                       int64_t begin, float *panel) {
  const __m512 scale = _mm512_set1_ps(p->scale);
  for (int64_t k = 0; k < work->depth; ++k) {
    const float *row = p->weight + (begin + k) * p->weight_row + work->output;
    for (int64_t n = 0; n < PANEL; n += 16) {
      __m512 some = _mm512_maskz_loadu_ps(lanes(work->count - n), row + n);
      _mm512_store_ps(panel + k * PANEL + n, _mm512_mul_ps(some, scale));
    }
  }
}

// One tile of y: `rows` rows and `vectors` times 16 outputs.
TARGET_AVX512 static inline __attribute__((always_inline)) void multiply(
    const graft_float32_product *p, tile_work *work, int64_t row, const int rows,
    const int vectors) {
  __m512 sum[16][3];
  float *y = p->y + row * p->outputs + work->output;
  const bool continues = !work->begins || p->adds;
  graft_fetch_tile(y, p->outputs, rows, vectors);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) sum[r][n] = _mm512_setzero_ps();
  }
  if (continues) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
      for (int n = 0; n < vectors; ++n) {
        sum[r][n] =
            _mm512_maskz_loadu_ps(lanes(work->count - 16 * n), y + r * p->outputs + 16 * n);
      }
    }
  }
  const float *x = work->x + row * p->x_row, *w = work->panel;
  // Rows of x that the next tile reads, which lie in a farther cache.
  const float *following = x + rows * p->x_row;
  for (int64_t begin = 0; begin < work->depth; begin += 16) {
    if (work->fetches_rows) {
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        _mm_prefetch((const char *)(following + r * p->x_row + begin), _MM_HINT_T1);
      }
    }
    const int64_t end = begin + 16 < work->depth ? begin + 16 : work->depth;
    for (int64_t k = begin; k < end; ++k, x += p->x_step, w += work->panel_row) {
      graft_fetch_line(&work->fetch);
      __m512 weight[3];
#pragma clang loop unroll(full)
      for (int n = 0; n < vectors; ++n) weight[n] = _mm512_loadu_ps(w + 16 * n);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        __m512 value = _mm512_set1_ps(x[r * p->x_row]);
#pragma clang loop unroll(full)
        for (int n = 0; n < vectors; ++n) {
          sum[r][n] = _mm512_fmadd_ps(weight[n], value, sum[r][n]);
        }
      }
    }
  }
  if (work->ends) {
    for (int64_t c = 0; c < p->term.rank; ++c) {
      const float *narrow = p->term.rows + row * p->term.stride + c;
#pragma clang loop unroll(full)
      for (int n = 0; n < vectors; ++n) {
        __m512 column = _mm512_load_ps(work->columns + c * PANEL + 16 * n);
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; ++r) {
          __m512 value = _mm512_set1_ps(narrow[r * p->term.stride]);
          sum[r][n] = _mm512_fmadd_ps(value, column, sum[r][n]);
        }
      }
    }
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) {
      __m512 bias = _mm512_load_ps(work->bias + 16 * n);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) sum[r][n] = _mm512_add_ps(sum[r][n], bias);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) {
      _mm512_mask_storeu_ps(y + r * p->outputs + 16 * n, lanes(work->count - 16 * n), sum[r][n]);
    }
  }
}

// Rows in tiles of `tall`, and those that are left in smaller ones.
TARGET_AVX512 static inline __attribute__((always_inline)) void multiply_rows(
    const graft_float32_product *p, tile_work *work, int64_t row, int64_t end, const int tall,
    const int vectors) {
  for (; row + tall <= end; row += tall) multiply(p, work, row, tall, vectors);
  for (; row + 4 <= end; row += 4) multiply(p, work, row, 4, vectors);
  switch (end - row) {
    case 3: multiply(p, work, row, 3, vectors); break;
    case 2: multiply(p, work, row, 2, vectors); break;
    case 1: multiply(p, work, row, 1, vectors); break;
    default: break;
  }
}

// Few outputs leave registers for more rows.
TARGET_AVX512 static void multiply_wide(const graft_float32_product *p, tile_work *work,
                                        int64_t row, int64_t end) {
  multiply_rows(p, work, row, end, 8, 3);
}
TARGET_AVX512 static void multiply_middle(const graft_float32_product *p, tile_work *work,
                                          int64_t row, int64_t end) {
  multiply_rows(p, work, row, end, 12, 2);
}
TARGET_AVX512 static void multiply_slim(const graft_float32_product *p, tile_work *work,
                                        int64_t row, int64_t end) {
  multiply_rows(p, work, row, end, 16, 1);
}

TARGET_AVX512 static void multiply_part(const graft_float32_product *p, tile_work *work, int64_t row,
                                        int64_t end, float *memory) {
  // For few rows the order that a weight of columns has is good enough.
  const bool packs = !p->transposed || end - row > 16 || work->count < PANEL || p->scale != 1;
  // Parts of the depth of about the same size.
  const int64_t size = parts(p->depth, parts(p->depth, DEPTH));
  for (int64_t begin = 0; begin < p->depth; begin += size) {
    work->depth = p->depth - begin < size ? p->depth - begin : size;
    work->x = p->x + begin * p->x_step;
    work->begins = begin == 0;
    work->ends = begin + size >= p->depth;
    if (!packs) {
      work->panel = p->weight + begin * p->weight_row + work->output;
      work->panel_row = p->weight_row;
    } else {
      if (p->transposed) pack_columns(p, work, begin, memory);
      else pack_rows(p, work, begin, memory);
      work->panel = memory;
      work->panel_row = PANEL;
    }
    if (work->count > 32) multiply_wide(p, work, row, end);
    else if (work->count > 16) multiply_middle(p, work, row, end);
    else multiply_slim(p, work, row, end);
  }
}

static void multiply_avx512(const graft_float32_product *p, int64_t first, int64_t end,
                            int64_t next, float *memory) {
  const int64_t count = p->row_parts, rows = parts(p->rows, count);
  const int64_t depth = p->depth < DEPTH ? p->depth : DEPTH;
  float *columns = memory + depth * PANEL, *bias = columns + p->term.rank * PANEL;
  int64_t current = -1;
  tile_work work = {.columns = columns, .bias = bias, .fetches_rows = p->x_step == 1};
  for (int64_t part = first; part < end; ++part) {
    work.output = part / count * PANEL;
    work.count = p->outputs - work.output < PANEL ? p->outputs - work.output : PANEL;
    if (work.output != current) {
      current = work.output;
      for (int64_t n = 0; n < PANEL; ++n) {
        const bool exists = n < work.count;
        bias[n] = exists && p->bias != NULL ? p->bias[work.output + n] : 0;
      }
      graft_narrow_columns(&p->term, work.output, work.count, PANEL, columns);
    }
    work.fetch = panel_fetch(p, (part + 1 < end ? part + 1 : next) / count);
    int64_t row = part % count * rows, stop = row + rows < p->rows ? row + rows : p->rows;
    multiply_part(p, &work, row, stop, memory);
  }
}
#endif

void graft_float32_multiply(const graft_float32_product *p, int64_t first, int64_t end,
                            int64_t next, void *workspace) {
#ifdef GRAFT_X86
  multiply_avx512(p, first, end, next, (float *)(((uintptr_t)workspace + 63) / 64 * 64));
#else
  (void)p, (void)first, (void)end, (void)next, (void)workspace;
#endif
}
