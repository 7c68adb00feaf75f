#include "Conversion.h"

#include <string.h>

#include "InstructionSet.h"
#include "VectorMath.h"

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float from_half(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
  if (rest >= 0x7C00) return from_bits(sign | 0x7F800000 | (rest & 0x3FF) << 13);
  if (rest >= 0x400) return from_bits(sign | ((rest << 13) + (112u << 23)));
  // Subnormal: a whole number of 2^-24, exact in float32.
  return from_bits(sign | to_bits((float)rest * 0x1p-24f));
}

static uint16_t to_half(float value) {
  uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
  if (rest > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (rest >> 13 & 0x3FF));
  if (rest >= 0x477FF000) return (uint16_t)(sign | 0x7C00);
  if (rest >= 0x38800000) {
    uint32_t rounded = rest + 0xFFF + (rest >> 13 & 1);
    return (uint16_t)(sign | (rounded - (112u << 23)) >> 13);
  }
  // Adding 0.5 leaves the multiple of 2^-24, rounded to even, in the low bits.
  return (uint16_t)(sign | (to_bits(from_bits(rest) + 0.5f) - to_bits(0.5f)));
}

#ifdef GRAFT_X86
TARGET_AVX2 static int64_t load_half_avx2(const uint16_t *x, int64_t count, float *buffer) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(buffer + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
  }
  return i;
}

// As graft_rounded_to_bfloat16 does.
TARGET_AVX512 static int64_t store_bfloat16_avx512(const float *values, int64_t count,
                                                   uint16_t *y) {
  const __m512i one = _mm512_set1_epi32(1), below = _mm512_set1_epi32(0x7FFF);
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF), infinity = _mm512_set1_epi32(0x7F800000);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512i bits = _mm512_loadu_si512(values + i), high = _mm512_srli_epi32(bits, 16);
    __mmask16 nan = _mm512_cmpgt_epu32_mask(_mm512_and_si512(bits, magnitude), infinity);
    __m512i odd = _mm512_and_si512(high, one);
    __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, below)), 16);
    rounded = _mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((__m256i *)(y + i), _mm512_cvtepi32_epi16(rounded));
  }
  return i;
}

TARGET_AVX2 static int64_t store_half_avx2(const float *values, int64_t count, uint16_t *y) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128((__m128i *)(y + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(values + i), _MM_FROUND_TO_NEAREST_INT));
  }
  return i;
}
#endif

const float *graft_load(const void *x, int32_t type, int64_t start, int64_t count, float *buffer) {
  if (type == GRAFT_FLOAT32) return (const float *)x + start;
  const uint16_t *source = (const uint16_t *)x + start;
  int64_t i = 0;
  if (type == GRAFT_BFLOAT16) {
    for (; i < count; ++i) buffer[i] = from_bits((uint32_t)source[i] << 16);
    return buffer;
  }
#ifdef GRAFT_X86
  if (graft_instruction_set() >= GRAFT_AVX2) i = load_half_avx2(source, count, buffer);
#endif
  for (; i < count; ++i) buffer[i] = from_half(source[i]);
  return buffer;
}

void graft_store(const float *values, int32_t type, int64_t start, int64_t count, void *y) {
  int64_t i = 0;
  if (type == GRAFT_FLOAT32) {
    // The kernels may have written to the place itself.
    if ((float *)y + start != values) memcpy((float *)y + start, values, count * sizeof(float));
    return;
  }
  uint16_t *target = (uint16_t *)y + start;
  if (type == GRAFT_BFLOAT16) {
#ifdef GRAFT_X86
    if (graft_instruction_set() == GRAFT_AVX512) i = store_bfloat16_avx512(values, count, target);
#endif
    for (; i < count; ++i) target[i] = graft_rounded_to_bfloat16(values[i]);
    return;
  }
#ifdef GRAFT_X86
  if (graft_instruction_set() >= GRAFT_AVX2) i = store_half_avx2(values, count, target);
#endif
  for (; i < count; ++i) target[i] = to_half(values[i]);
}
