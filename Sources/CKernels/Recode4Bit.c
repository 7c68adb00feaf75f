// Rows in blockwise codes of 4 bits to rows of 8-bit whole numbers, without numbers in between.
#include <math.h>
#include <string.h>

#include "Block.h"
#include "Code4Bit.h"
#include "InstructionSet.h"

#pragma STDC FP_CONTRACT OFF

// The largest magnitude of some blocks; NaN above all.
static float largest_scale(const float *absmax, int64_t count) {
  uint32_t largest = 0;
  for (int64_t b = 0; b < count; ++b) {
    uint32_t bits;
    memcpy(&bits, absmax + b, sizeof bits);
    bits &= 0x7FFFFFFF;
    if (bits > largest) largest = bits;
  }
  float scale;
  memcpy(&scale, &largest, sizeof scale);
  return scale;
}

// What each of the 16 codes of a block becomes.
static void fill_table(const float *code, float factor, int8_t *table) {
  for (int c = 0; c < 16; ++c) table[c] = (int8_t)rintf(code[c] * factor);
}

static void recode_scalar(const int8_t *table, const uint8_t *bytes, int64_t count,
                          int8_t *codes) {
  for (int64_t i = 0; i < count; i += 2) {
    uint8_t pair = bytes[i / 2];
    codes[i] = table[pair >> 4];
    codes[i + 1] = table[pair & 15];
  }
}

#ifdef GRAFT_X86
// Blocks are of 32 codes or a multiple.
TARGET_AVX2 static void recode_avx2(const float *code, float factor, const uint8_t *bytes,
                                    int64_t count, int8_t *codes) {
  const __m128 scale = _mm_set1_ps(factor);
  const __m128i low = _mm_set1_epi8(0x0F);
  __m128i part[4];
  for (int i = 0; i < 4; ++i) {
    part[i] = _mm_cvtps_epi32(_mm_mul_ps(_mm_loadu_ps(code + 4 * i), scale));
  }
  const __m128i table =
      _mm_packs_epi16(_mm_packs_epi32(part[0], part[1]), _mm_packs_epi32(part[2], part[3]));
  for (int64_t i = 0; i < count; i += 32) {
    __m128i pairs = _mm_loadu_si128((const __m128i *)(bytes + i / 2));
    __m128i first = _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(pairs, 4), low));
    __m128i second = _mm_shuffle_epi8(table, _mm_and_si128(pairs, low));
    _mm_storeu_si128((__m128i *)(codes + i), _mm_unpacklo_epi8(first, second));
    _mm_storeu_si128((__m128i *)(codes + i + 16), _mm_unpackhi_epi8(first, second));
  }
}
#endif

void graft_recode_4bit_rows(int32_t kind, const uint8_t *bytes, const float *absmax,
                            int64_t columns, int64_t block_size, int64_t first, int64_t end,
                            int8_t *codes, float *scale) {
  const float *code = graft_code_4bit(kind);
  const int64_t blocks = columns / block_size;
  for (int64_t row = first; row < end; ++row) {
    const float *magnitude = absmax + row * blocks;
    scale[row] = largest_scale(magnitude, blocks);
    float whole = graft_int8_factor(scale[row]);
    if (whole == 0) {
      memset(codes + row * columns, 0, (size_t)columns);
      continue;
    }
    for (int64_t b = 0; b < blocks; ++b) {
      int64_t start = row * columns + b * block_size;
      float factor = magnitude[b] * whole;
#ifdef GRAFT_X86
      if (graft_instruction_set() >= GRAFT_AVX2) {
        recode_avx2(code, factor, bytes + start / 2, block_size, codes + start);
        continue;
      }
#endif
      int8_t table[16];
      fill_table(code, factor, table);
      recode_scalar(table, bytes + start / 2, block_size, codes + start);
    }
  }
}
