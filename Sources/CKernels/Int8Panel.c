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
                                  uint8_t *panel) {
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
        _mm512_storeu_si512(panel + (k / 4 + g) * 4 * GRAFT_PANEL + part * 4, r[g]);
      }
    }
  }
}

// Four neighbouring k of 64 outputs, whose bytes lie in four rows.
TARGET_VNNI static void pack_columns(const graft_int8_product *p, int64_t output, int64_t count,
                                     uint8_t *panel) {
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
    uint8_t *target = panel + k * GRAFT_PANEL;
    for (int i = 0; i < 4; ++i) {
      _mm_storeu_si128((__m128i *)(target + 16 * i), _mm512_extracti32x4_epi32(part[i], 0));
      _mm_storeu_si128((__m128i *)(target + 64 + 16 * i), _mm512_extracti32x4_epi32(part[i], 1));
      _mm_storeu_si128((__m128i *)(target + 128 + 16 * i), _mm512_extracti32x4_epi32(part[i], 2));
      _mm_storeu_si128((__m128i *)(target + 192 + 16 * i), _mm512_extracti32x4_epi32(part[i], 3));
    }
  }
}

// 128 times the sum of each row: what the bytes' offset adds to every output.
TARGET_VNNI static void sum_offsets(const int8_t *x, int64_t rows, int64_t depth, int32_t *sums) {
  const __m512i offset = _mm512_set1_epi8((char)0x80);
  for (int64_t r = 0; r < rows; ++r) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = 0; k < depth; k += 64) {
      __mmask64 bytes = depth - k >= 64 ? ~0ull : (1ull << (depth - k)) - 1;
      sum = _mm512_dpbusd_epi32(sum, offset, _mm512_maskz_loadu_epi8(bytes, x + r * depth + k));
    }
    sums[r] = _mm512_reduce_add_epi32(sum);
  }
}

TARGET_VNNI static inline __attribute__((always_inline)) void multiply(
    const int8_t *x, const int rows, int64_t depth, const uint8_t *panel, const int32_t *offsets,
    int32_t *sums) {
  __m512i sum[GRAFT_TILE_ROWS][4];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    __m512i start = _mm512_set1_epi32(-offsets[r]);
    for (int n = 0; n < 4; ++n) sum[r][n] = start;
  }
  int64_t k = 0;
  for (; k + 4 <= depth; k += 4) {
    const uint8_t *w = panel + k * GRAFT_PANEL;
    __m512i weight[4] = {_mm512_loadu_si512(w), _mm512_loadu_si512(w + 64),
                         _mm512_loadu_si512(w + 128), _mm512_loadu_si512(w + 192)};
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      int32_t four;
      memcpy(&four, x + r * depth + k, 4);
      __m512i value = _mm512_set1_epi32(four);
#pragma clang loop unroll(full)
      for (int n = 0; n < 4; ++n) sum[r][n] = _mm512_dpbusd_epi32(sum[r][n], weight[n], value);
    }
  }
  if (k < depth) {
    const uint8_t *w = panel + k * GRAFT_PANEL;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      int32_t four = 0;
      memcpy(&four, x + r * depth + k, (size_t)(depth - k));
      __m512i value = _mm512_set1_epi32(four);
#pragma clang loop unroll(full)
      for (int n = 0; n < 4; ++n) {
        sum[r][n] = _mm512_dpbusd_epi32(sum[r][n], _mm512_loadu_si512(w + 64 * n), value);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
    for (int n = 0; n < 4; ++n) {
      _mm512_storeu_si512(sums + r * GRAFT_PANEL + 16 * n, sum[r][n]);
    }
  }
}

TARGET_VNNI static void multiply_panel(const int8_t *x, int64_t rows, int64_t depth,
                                       const uint8_t *panel, const int32_t *offsets,
                                       int32_t *sums) {
  switch (rows) {
    case 1: multiply(x, 1, depth, panel, offsets, sums); break;
    case 2: multiply(x, 2, depth, panel, offsets, sums); break;
    case 3: multiply(x, 3, depth, panel, offsets, sums); break;
    case 4: multiply(x, 4, depth, panel, offsets, sums); break;
    case 5: multiply(x, 5, depth, panel, offsets, sums); break;
    default: multiply(x, 6, depth, panel, offsets, sums); break;
  }
}
#endif

void graft_pack_panel(const graft_int8_product *p, int64_t output, int64_t count, uint8_t *panel) {
#ifdef GRAFT_X86
  if (p->transposed) pack_columns(p, output, count, panel);
  else pack_rows(p, output, count, panel);
#else
  (void)p, (void)output, (void)count, (void)panel;
#endif
}

void graft_sum_offsets(const int8_t *x, int64_t rows, int64_t depth, int32_t *sums) {
#ifdef GRAFT_X86
  sum_offsets(x, rows, depth, sums);
#else
  (void)x, (void)rows, (void)depth, (void)sums;
#endif
}

void graft_multiply_panel(const int8_t *x, int64_t rows, int64_t depth, const uint8_t *panel,
                          const int32_t *offsets, int32_t *sums) {
#ifdef GRAFT_X86
  multiply_panel(x, rows, depth, panel, offsets, sums);
#else
  (void)x, (void)rows, (void)depth, (void)panel, (void)offsets, (void)sums;
#endif
}
