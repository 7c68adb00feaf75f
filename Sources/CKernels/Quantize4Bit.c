// Blockwise codes of 4 bits, two a byte, the first in the upper half.
#include <math.h>

#include "Block.h"
#include "Code4Bit.h"
#include "InstructionSet.h"

static uint8_t code_of(int32_t kind, float x) {
  uint8_t below = 0;
  if (kind == GRAFT_NF4) {
    for (int i = 0; i < 15; ++i) below += x > graft_nf4_threshold[i];
    return below;
  }
  for (int i = 0; i < 7; ++i) below += fabsf(x) > graft_fp4_threshold[i];
  return graft_fp4_nibble[below] | (x < 0 ? 8 : 0);
}

static void pack_scalar(int32_t kind, const float *x, int64_t count, uint8_t *bytes) {
  for (int64_t i = 0; i < count; i += 2) {
    uint8_t second = i + 1 < count ? code_of(kind, x[i + 1]) : code_of(kind, 0);
    bytes[i / 2] = (uint8_t)(code_of(kind, x[i]) << 4 | second);
  }
}

#ifdef GRAFT_X86
// Bytes of codes, one each, to bytes of two: the even ones in the upper half.
TARGET_AVX2 static void store_pairs(__m128i codes, uint8_t *bytes) {
  __m128i pairs = _mm_maddubs_epi16(codes, _mm_set1_epi16(0x0110));
  _mm_storel_epi64((__m128i *)bytes, _mm_packus_epi16(pairs, pairs));
}

TARGET_AVX2 static __m256i codes_avx2(int32_t kind, __m256 x) {
  __m256i below = _mm256_setzero_si256();
  if (kind == GRAFT_NF4) {
    for (int i = 0; i < 15; ++i) {
      __m256 over = _mm256_cmp_ps(x, _mm256_set1_ps(graft_nf4_threshold[i]), _CMP_GT_OQ);
      below = _mm256_sub_epi32(below, _mm256_castps_si256(over));
    }
    return below;
  }
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 magnitude = _mm256_andnot_ps(sign, x);
  for (int i = 0; i < 7; ++i) {
    __m256 over = _mm256_cmp_ps(magnitude, _mm256_set1_ps(graft_fp4_threshold[i]), _CMP_GT_OQ);
    below = _mm256_sub_epi32(below, _mm256_castps_si256(over));
  }
  const __m256i nibbles = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)graft_fp4_nibble));
  __m256i negative = _mm256_castps_si256(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
  return _mm256_or_si256(_mm256_permutevar8x32_epi32(nibbles, below),
                         _mm256_and_si256(negative, _mm256_set1_epi32(8)));
}

TARGET_AVX2 static int64_t pack_avx2(int32_t kind, float factor, const float *x, int64_t count,
                                     uint8_t *bytes) {
  const __m256 scale = _mm256_set1_ps(factor);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m256i low = codes_avx2(kind, _mm256_mul_ps(_mm256_loadu_ps(x + i), scale));
    __m256i high = codes_avx2(kind, _mm256_mul_ps(_mm256_loadu_ps(x + i + 8), scale));
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xD8);
    store_pairs(_mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)),
                bytes + i / 2);
  }
  return i;
}

// A binary search in four steps: each looks its threshold up by the code so far.
TARGET_AVX512 static __m512i nf4_codes_avx512(__m512 x, __m512 thresholds) {
  __m512i code = _mm512_setzero_si512();
  for (int step = 8; step > 0; step /= 2) {
    __m512i place = _mm512_add_epi32(code, _mm512_set1_epi32(step - 1));
    __mmask16 over = _mm512_cmp_ps_mask(x, _mm512_permutexvar_ps(place, thresholds), _CMP_GT_OQ);
    code = _mm512_mask_add_epi32(code, over, code, _mm512_set1_epi32(step));
  }
  return code;
}

TARGET_AVX512 static __m512i fp4_codes_avx512(__m512 x, __m512 thresholds, __m512i nibbles) {
  __m512 magnitude = _mm512_abs_ps(x);
  __m512i below = _mm512_setzero_si512();
  for (int step = 4; step > 0; step /= 2) {
    __m512i place = _mm512_add_epi32(below, _mm512_set1_epi32(step - 1));
    __mmask16 over =
        _mm512_cmp_ps_mask(magnitude, _mm512_permutexvar_ps(place, thresholds), _CMP_GT_OQ);
    below = _mm512_mask_add_epi32(below, over, below, _mm512_set1_epi32(step));
  }
  __m512i code = _mm512_permutexvar_epi32(below, nibbles);
  __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_mask_or_epi32(code, negative, code, _mm512_set1_epi32(8));
}

TARGET_AVX512 static int64_t pack_avx512(int32_t kind, float factor, const float *x, int64_t count,
                                         uint8_t *bytes) {
  const __m512 scale = _mm512_set1_ps(factor);
  const bool normal = kind == GRAFT_NF4;
  const __m512 thresholds = normal
      ? _mm512_loadu_ps(graft_nf4_threshold)
      : _mm512_castps256_ps512(_mm256_loadu_ps(graft_fp4_threshold));
  const __m512i nibbles =
      _mm512_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)graft_fp4_nibble));
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), scale);
    __m512i code =
        normal ? nf4_codes_avx512(v, thresholds) : fp4_codes_avx512(v, thresholds, nibbles);
    store_pairs(_mm512_cvtepi32_epi8(code), bytes + i / 2);
  }
  return i;
}
#endif

static void pack_chunk(const void *table, graft_block_scale scale, const float *x, int64_t count,
                       int64_t position, uint8_t *bytes) {
  const int32_t kind = *(const int32_t *)table;
  bytes += position / 2;
  int64_t done = 0;
#ifdef GRAFT_X86
  // Rounding of the factor may push the largest number above 1, where it has the last code anyway.
  if (scale.factor != 0) {
    int32_t set = graft_instruction_set();
    if (set == GRAFT_AVX512) done = pack_avx512(kind, scale.factor, x, count, bytes);
    else if (set == GRAFT_AVX2) done = pack_avx2(kind, scale.factor, x, count, bytes);
  }
#endif
  float normalized[GRAFT_CHUNK];
  graft_normalize(scale, x + done, count - done, normalized);
  pack_scalar(kind, normalized, count - done, bytes + done / 2);
}

void graft_quantize_4bit(int32_t kind, const void *x, int32_t type, int64_t count,
                         int64_t block_size, int64_t first, int64_t end, uint8_t *bytes,
                         float *absmax) {
  graft_encode_blocks(pack_chunk, &kind, x, type, count, block_size, first, end, bytes, absmax);
}
