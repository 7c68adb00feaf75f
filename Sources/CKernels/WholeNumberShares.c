// Words' shares of rows as whole numbers of 8 bits, but for large ones.
#include <math.h>

#include "InstructionSet.h"
#include "VectorVariants.h"
#include "include/LayerKernels.h"

#pragma STDC FP_CONTRACT OFF

// Steps from the least code to the largest, and numbers that are too small to divide by.
static const float STEPS = 254, TINY = 1e-30f;

// What is found of a row in columns that are added up at the end, in the same order on every set.
typedef struct {
  float largest[GRAFT_LANES], left[GRAFT_LANES];
  int32_t codes[GRAFT_LANES];
} row_lanes;

// Some words of a row, at most 16: which are large, and the largest of the others times their factor.
static uint16_t scan_some(const float *shares, const float *factor, float limit, int64_t count,
                          row_lanes *lanes) {
  uint16_t group = 0;
  for (int64_t j = 0; j < count; ++j) {
    const bool chosen = shares[j] >= limit;
    const float value = shares[j] * factor[j];
    group |= (uint16_t)(chosen << j);
    if (!chosen && value > lanes->largest[j]) lanes->largest[j] = value;
  }
  return group;
}

static void round_some(const float *shares, const float *factor, uint16_t group, float scale,
                       int64_t count, row_lanes *lanes, int8_t *codes) {
  for (int64_t j = 0; j < count; ++j) {
    const float value = group >> j & 1 ? 0 : shares[j] * factor[j] * scale;
    const float nearest = rintf(value);
    lanes->left[j] += value - nearest;
    // NaN, of a row whose scale then is NaN, may be any code.
    const int32_t code = (nearest == nearest ? (int32_t)nearest : 0) - 127;
    lanes->codes[j] += code;
    codes[j] = (int8_t)code;
  }
}

#ifdef GRAFT_X86
// Both do whole groups of 16 words and return the words that were done.
TARGET_AVX512 static int64_t scan_avx512(const float *shares, const float *factor, float limit,
                                         int64_t size, row_lanes *lanes, uint16_t *large) {
  const __m512 limits = _mm512_set1_ps(limit);
  __m512 largest = _mm512_loadu_ps(lanes->largest);
  int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    const __m512 share = _mm512_loadu_ps(shares + i);
    const __mmask16 chosen = _mm512_cmp_ps_mask(share, limits, _CMP_GE_OQ);
    const __m512 value = _mm512_mul_ps(share, _mm512_loadu_ps(factor + i));
    // Of NaN and a number the second one is taken.
    largest = _mm512_mask_max_ps(largest, (__mmask16)~chosen, value, largest);
    large[i / 16] = chosen;
  }
  _mm512_storeu_ps(lanes->largest, largest);
  return i;
}

TARGET_AVX512 static int64_t round_avx512(const float *shares, const float *factor,
                                          const uint16_t *large, float scale, int64_t size,
                                          row_lanes *lanes, int8_t *codes) {
  const __m512 scales = _mm512_set1_ps(scale);
  const __m512i least = _mm512_set1_epi32(127);
  __m512 left = _mm512_loadu_ps(lanes->left);
  __m512i sum = _mm512_loadu_si512(lanes->codes);
  int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    const __m512 share = _mm512_maskz_loadu_ps((__mmask16)~large[i / 16], shares + i);
    const __m512 value =
        _mm512_mul_ps(_mm512_mul_ps(share, _mm512_loadu_ps(factor + i)), scales);
    const __m512 nearest = _mm512_roundscale_ps(value, _MM_FROUND_TO_NEAREST_INT);
    left = _mm512_add_ps(left, _mm512_sub_ps(value, nearest));
    const __m512i code = _mm512_sub_epi32(
        _mm512_maskz_cvtps_epi32(_mm512_cmp_ps_mask(nearest, nearest, _CMP_ORD_Q), nearest), least);
    sum = _mm512_add_epi32(sum, code);
    _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(code));
  }
  _mm512_storeu_ps(lanes->left, left);
  _mm512_storeu_si512(lanes->codes, sum);
  return i;
}
#endif

void graft_quantize_shares(const float *shares, const double *sum, double least,
                           const float *factor, int64_t size, int64_t first, int64_t end,
                           uint16_t *large, int8_t *codes, float *scale, float *offset,
                           int32_t *code_sums) {
  const int64_t groups = (size + 15) / 16;
  for (int64_t row = first; row < end; ++row) {
    const float *from = shares + row * size, limit = (float)(sum[row] * least);
    uint16_t *bits = large + row * groups;
    int8_t *to = codes + row * size;
    row_lanes lanes = {0};
    int64_t i = 0;
#ifdef GRAFT_X86
    const bool wide = graft_instruction_set() == GRAFT_AVX512;
    if (wide) i = scan_avx512(from, factor, limit, size, &lanes, bits);
#endif
    for (; i < size; i += 16) {
      const int64_t some = size - i < 16 ? size - i : 16;
      bits[i / 16] = scan_some(from + i, factor + i, limit, some, &lanes);
    }
    float most = 0;
    for (int j = 0; j < GRAFT_LANES; ++j) most = lanes.largest[j] > most ? lanes.largest[j] : most;
    const float step = most > TINY ? STEPS / most : 0;
    i = 0;
#ifdef GRAFT_X86
    if (wide) i = round_avx512(from, factor, bits, step, size, &lanes, to);
#endif
    for (; i < size; i += 16) {
      const int64_t some = size - i < 16 ? size - i : 16;
      round_some(from + i, factor + i, bits[i / 16], step, some, &lanes, to + i);
    }
    int32_t total = 0;
    for (int j = 0; j < GRAFT_LANES; ++j) total += lanes.codes[j];
    const float one = isfinite(sum[row]) ? (most > TINY ? most / STEPS : 0) : NAN;
    scale[row] = one;
    offset[row] = one * (1.0f / 127) * (127 + graft_sum_lanes(lanes.left) / (float)size);
    code_sums[row] = 128 * total;
  }
}

void graft_code_column_sums(const int8_t *codes, int64_t rows, int64_t columns, int64_t first,
                            int64_t end, float *sums) {
  enum { WIDTH = 64 };
  for (int64_t column = first; column < end; column += WIDTH) {
    const int64_t some = end - column < WIDTH ? end - column : WIDTH;
    int32_t totals[WIDTH] = {0};
    for (int64_t row = 0; row < rows; ++row) {
      const int8_t *from = codes + row * columns + column;
      for (int64_t j = 0; j < some; ++j) totals[j] += from[j];
    }
    for (int64_t j = 0; j < some; ++j) sums[column + j] = (float)totals[j];
  }
}
