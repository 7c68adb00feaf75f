// Blockwise codes of 4 bits back to numbers.
#include "Block.h"
#include "Code4Bit.h"
#include "InstructionSet.h"

#ifdef GRAFT_X86
// Eight bytes to sixteen codes, one a byte.
TARGET_AVX2 static __m128i codes_of(const uint8_t *bytes) {
  __m128i pairs = _mm_loadl_epi64((const __m128i *)bytes);
  const __m128i low = _mm_set1_epi8(0x0F);
  __m128i first = _mm_and_si128(_mm_srli_epi16(pairs, 4), low);
  return _mm_unpacklo_epi8(first, _mm_and_si128(pairs, low));
}

TARGET_AVX2 static int64_t unpack_avx2(const float *code, const uint8_t *bytes, float absmax,
                                       int64_t count, float *y) {
  const __m256 low = _mm256_loadu_ps(code), high = _mm256_loadu_ps(code + 8);
  const __m256 scale = _mm256_set1_ps(absmax);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m128i codes = codes_of(bytes + i / 2);
    __m256 one = graft_4bit_numbers(_mm256_cvtepu8_epi32(codes), low, high);
    __m256 two = graft_4bit_numbers(_mm256_cvtepu8_epi32(_mm_srli_si128(codes, 8)), low, high);
    _mm256_storeu_ps(y + i, _mm256_mul_ps(one, scale));
    _mm256_storeu_ps(y + i + 8, _mm256_mul_ps(two, scale));
  }
  return i;
}

TARGET_AVX512 static int64_t unpack_avx512(const float *code, const uint8_t *bytes, float absmax,
                                           int64_t count, float *y) {
  const __m512 table = _mm512_loadu_ps(code), scale = _mm512_set1_ps(absmax);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512i index = _mm512_cvtepu8_epi32(codes_of(bytes + i / 2));
    _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_permutexvar_ps(index, table), scale));
  }
  return i;
}
#endif

static void unpack(const float *code, const uint8_t *bytes, int64_t position, float absmax,
                   int64_t count, float *y) {
  bytes += position / 2;
  int64_t i = 0;
#ifdef GRAFT_X86
  int32_t set = graft_instruction_set();
  if (set == GRAFT_AVX512) i = unpack_avx512(code, bytes, absmax, count, y);
  else if (set == GRAFT_AVX2) i = unpack_avx2(code, bytes, absmax, count, y);
#endif
  for (; i < count; ++i) {
    uint8_t pair = bytes[i / 2];
    y[i] = code[i % 2 == 0 ? pair >> 4 : pair & 15] * absmax;
  }
}

void graft_dequantize_4bit(int32_t kind, const uint8_t *bytes, const float *absmax, int64_t count,
                           int64_t block_size, int64_t first, int64_t end, int32_t type, void *y) {
  graft_decode_blocks(unpack, graft_code_4bit(kind), bytes, absmax, count, block_size, first, end,
                      type, y);
}
