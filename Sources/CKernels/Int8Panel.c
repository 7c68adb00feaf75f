// Int8 products by VNNI dot products over packed panels.
#include <string.h>

#include "Int8Tile.h"
#include "TransposeWords.h"

bool graft_has_int8_dot(void) {
#ifdef GRAFT_X86
  return graft_instruction_set() == GRAFT_AVX512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

#ifdef GRAFT_X86
#define TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

TARGET_VNNI static void pack_rows(const graft_int8_product *p, int64_t output, int64_t count,
                                  uint8_t *codes) {
  const __m512i offset = _mm512_set1_epi8((char)0x80);
  const int64_t groups = (p->depth + 3) / 4;
  for (int64_t part = 0; part < GRAFT_PANEL; part += 16) {
    for (int64_t k = 0; k < p->depth; k += 64) {
      int64_t left = p->depth - k;
      __mmask64 bytes = left >= 64 ? ~0ull : (1ull << left) - 1;
      __m512i r[16];
      for (int i = 0; i < 16; ++i) {
        int64_t n = part + i;
        __m512i row = n < count
            ? _mm512_maskz_loadu_epi8(bytes, p->weight + (output + n) * p->depth + k)
            : _mm512_setzero_si512();
        r[i] = _mm512_xor_si512(row, offset);
      }
      graft_transpose_words(r);
      int64_t some = groups - k / 4 < 16 ? groups - k / 4 : 16;
      for (int64_t g = 0; g < some; ++g) {
        _mm512_storeu_si512(codes + (k / 4 + g) * 4 * GRAFT_PANEL + part * 4, r[g]);
      }
    }
  }
}

// Four neighbouring k of 64 outputs, whose bytes lie in four rows.
TARGET_VNNI static void pack_columns(const graft_int8_product *p, int64_t output, int64_t count,
                                     uint8_t *codes) {
  const __m512i offset = _mm512_set1_epi8((char)0x80);
  __mmask64 bytes = count >= 64 ? ~0ull : (1ull << count) - 1;
  for (int64_t k = 0; k < p->depth; k += 4) {
    __m512i row[4];
    for (int i = 0; i < 4; ++i) {
      row[i] = k + i < p->depth
          ? _mm512_maskz_loadu_epi8(bytes, p->weight + (k + i) * p->outputs + output)
          : _mm512_setzero_si512();
      row[i] = _mm512_xor_si512(row[i], offset);
    }
    __m512i low = _mm512_unpacklo_epi8(row[0], row[1]), low2 = _mm512_unpacklo_epi8(row[2], row[3]);
    __m512i high = _mm512_unpackhi_epi8(row[0], row[1]),
            high2 = _mm512_unpackhi_epi8(row[2], row[3]);
    // Within each quarter of 16 outputs: 0-3, 4-7, 8-11, 12-15.
    __m512i part[4] = {_mm512_unpacklo_epi16(low, low2), _mm512_unpackhi_epi16(low, low2),
                       _mm512_unpacklo_epi16(high, high2), _mm512_unpackhi_epi16(high, high2)};
    uint8_t *target = codes + k * GRAFT_PANEL;
    for (int i = 0; i < 4; ++i) {
      _mm_storeu_si128((__m128i *)(target + 16 * i), _mm512_extracti32x4_epi32(part[i], 0));
      _mm_storeu_si128((__m128i *)(target + 64 + 16 * i), _mm512_extracti32x4_epi32(part[i], 1));
      _mm_storeu_si128((__m128i *)(target + 128 + 16 * i), _mm512_extracti32x4_epi32(part[i], 2));
      _mm_storeu_si128((__m128i *)(target + 192 + 16 * i), _mm512_extracti32x4_epi32(part[i], 3));
    }
  }
}

// 128 times the sum of each row: what the bytes' offset adds to every output.
TARGET_VNNI static void row_sums(const int8_t *x, int64_t depth, int64_t first, int64_t end,
                                 int32_t *sums) {
  const __m512i offset = _mm512_set1_epi8((char)0x80);
  for (int64_t r = first; r < end; ++r) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += 64) {
      __mmask64 bytes = depth - k >= 64 ? ~0ull : (1ull << (depth - k)) - 1;
      sum = _mm512_dpbusd_epi32(sum, offset, _mm512_maskz_loadu_epi8(bytes, x + r * depth + k));
    }
    sums[r] = _mm512_reduce_add_epi32(sum);
  }
}

// Four neighbouring k of some rows.
TARGET_VNNI static inline __attribute__((always_inline)) void step(
    __m512i sum[GRAFT_TILE_ROWS][4], const int rows, const int8_t *x, int64_t depth, int64_t bytes,
    const uint8_t *codes) {
  __m512i weight[4];
#pragma clang loop unroll(full)
  for (int n = 0; n < 4; ++n) weight[n] = _mm512_load_si512(codes + 64 * n);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    int32_t four = 0;
    memcpy(&four, x + r * depth, (size_t)bytes);
    __m512i value = _mm512_set1_epi32(four);
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) sum[r][n] = _mm512_dpbusd_epi32(sum[r][n], weight[n], value);
  }
}

// value[r][n] += x[r, c] * columns[c] over c.
TARGET_VNNI static inline __attribute__((always_inline)) void add_columns(
    __m512 value[GRAFT_TILE_ROWS][4], const int rows, const float *x, int64_t stride,
    int64_t count, const float *columns) {
  for (int64_t c = 0; c < count; ++c) {
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) {
      __m512 column = _mm512_loadu_ps(columns + c * GRAFT_PANEL + 16 * n);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        value[r][n] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * stride + c]), column, value[r][n]);
      }
    }
  }
}

#pragma STDC FP_CONTRACT OFF

// A tile's sums to numbers, in the order of the scalar code.
TARGET_VNNI static inline __attribute__((always_inline)) void finish(
    const graft_int8_product *p, const graft_int8_panel *panel, __m512i sum[GRAFT_TILE_ROWS][4],
    const int rows, int64_t row) {
  __m512 value[GRAFT_TILE_ROWS][4];
  __mmask16 lanes[4];
#pragma clang loop unroll(full)
  for (int n = 0; n < 4; ++n) {
    int64_t left = panel->count - 16 * n;
    lanes[n] = left >= 16 ? 0xFFFF : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
  }
#pragma clang loop unroll(full)
  for (int n = 0; n < 4; ++n) {
    __m512 whole = _mm512_loadu_ps(panel->scale + 16 * n);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      __m512 factor = _mm512_mul_ps(_mm512_set1_ps(p->x_scale[row + r] * (1.0f / 127)), whole);
      value[r][n] = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[r][n]), factor);
    }
  }
  if (p->bias != NULL) {
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) {
      __m512 bias = _mm512_maskz_loadu_ps(lanes[n], p->bias + panel->output + 16 * n);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) value[r][n] = _mm512_add_ps(value[r][n], bias);
    }
  }
  add_columns(value, rows, p->outlier + row * p->outlier_count, p->outlier_count,
              p->outlier_count, panel->columns);
  add_columns(value, rows, p->term.rows + row * p->term.stride, p->term.stride, p->term.rank,
              panel->columns + p->outlier_count * GRAFT_PANEL);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    float *y = p->y + (row + r) * p->outputs + panel->output;
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) {
      if (p->adds) {
        value[r][n] = _mm512_add_ps(value[r][n], _mm512_maskz_loadu_ps(lanes[n], y + 16 * n));
      }
      _mm512_mask_storeu_ps(y + 16 * n, lanes[n], value[r][n]);
    }
  }
}

TARGET_VNNI static inline __attribute__((always_inline)) void multiply(
    const graft_int8_product *p, graft_int8_panel *panel, int64_t row, const int rows) {
  const int64_t depth = p->depth;
  const int8_t *x = p->x + row * depth;
  __m512i sum[GRAFT_TILE_ROWS][4];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    __m512i start = _mm512_set1_epi32(-p->x_sums[row + r]);
    for (int n = 0; n < 4; ++n) sum[r][n] = start;
  }
  graft_fetch_tile(p->y + row * p->outputs + panel->output, p->outputs, rows, 4);
  int64_t k = 0;
  for (; k + 4 <= depth; k += 4) {
    graft_fetch_line(&panel->fetch);
    if (k % 32 == 0) graft_fetch_rows_ahead(x + rows * depth, rows * depth, k / 32, 3);
    step(sum, rows, x + k, depth, 4, panel->codes + k * GRAFT_PANEL);
  }
  if (k < depth) step(sum, rows, x + k, depth, depth - k, panel->codes + k * GRAFT_PANEL);
  finish(p, panel, sum, rows, row);
}

TARGET_VNNI static void multiply_panel(const graft_int8_product *p, graft_int8_panel *panel,
                                       int64_t row, int64_t end) {
  for (; row + GRAFT_TILE_ROWS <= end; row += GRAFT_TILE_ROWS) {
    multiply(p, panel, row, GRAFT_TILE_ROWS);
  }
  switch (end - row) {
    case 1: multiply(p, panel, row, 1); break;
    case 2: multiply(p, panel, row, 2); break;
    case 3: multiply(p, panel, row, 3); break;
    case 4: multiply(p, panel, row, 4); break;
    case 5: multiply(p, panel, row, 5); break;
    default: break;
  }
}
#endif

void graft_pack_panel(const graft_int8_product *p, int64_t output, int64_t count, uint8_t *codes) {
#ifdef GRAFT_X86
  if (p->transposed) pack_columns(p, output, count, codes);
  else pack_rows(p, output, count, codes);
#else
  (void)p, (void)output, (void)count, (void)codes;
#endif
}

void graft_int8_row_sums(const int8_t *x, int64_t depth, int64_t first, int64_t end,
                         int32_t *sums) {
#ifdef GRAFT_X86
  if (graft_has_int8_dot()) {
    row_sums(x, depth, first, end, sums);
    return;
  }
#endif
  for (int64_t r = first; r < end; ++r) {
    int32_t sum = 0;
    for (int64_t k = 0; k < depth; ++k) sum += x[r * depth + k];
    sums[r] = 128 * sum;
  }
}

void graft_multiply_panel(const graft_int8_product *p, graft_int8_panel *panel, int64_t row,
                          int64_t end) {
#ifdef GRAFT_X86
  multiply_panel(p, panel, row, end);
#else
  (void)p, (void)panel, (void)row, (void)end;
#endif
}
