// Blockwise codes of 8 bits back to numbers.
#include "Block.h"
#include "InstructionSet.h"

#ifdef GRAFT_X86
TARGET_AVX2 static int64_t look_up_avx2(const float *code, const uint8_t *codes, float absmax,
                                        int64_t count, float *y) {
  const __m256 scale = _mm256_set1_ps(absmax);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i index = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(codes + i)));
    _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_i32gather_ps(code, index, 4), scale));
  }
  return i;
}

// The 256 numbers stay in registers. A block of 256 took 55 ns so and 85 ns with gathers from memory
// on an AMD processor.
TARGET_AVX512 static int64_t look_up_avx512(const float *code, const uint8_t *codes, float absmax,
                                            int64_t count, float *y) {
  const __m512 scale = _mm512_set1_ps(absmax);
  const __m512i bit5 = _mm512_set1_epi32(32), bit6 = _mm512_set1_epi32(64);
  const __m512i bit7 = _mm512_set1_epi32(128);
  __m512 table[16];
  for (int k = 0; k < 16; ++k) table[k] = _mm512_loadu_ps(code + 16 * k);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(codes + i)));
    __mmask16 odd = _mm512_test_epi32_mask(index, bit5);
    __mmask16 second = _mm512_test_epi32_mask(index, bit6);
    __mmask16 upper = _mm512_test_epi32_mask(index, bit7);
    __m512 quarter[4];
    for (int k = 0; k < 4; ++k) {
      quarter[k] = _mm512_mask_blend_ps(
          odd, _mm512_permutex2var_ps(table[4 * k], index, table[4 * k + 1]),
          _mm512_permutex2var_ps(table[4 * k + 2], index, table[4 * k + 3]));
    }
    __m512 value = _mm512_mask_blend_ps(
        upper, _mm512_mask_blend_ps(second, quarter[0], quarter[1]),
        _mm512_mask_blend_ps(second, quarter[2], quarter[3]));
    _mm512_storeu_ps(y + i, _mm512_mul_ps(value, scale));
  }
  return i;
}
#endif

static void look_up(const float *code, const uint8_t *codes, int64_t position, float absmax,
                    int64_t count, float *y) {
  codes += position;
  int64_t i = 0;
#ifdef GRAFT_X86
  int32_t set = graft_instruction_set();
  if (set == GRAFT_AVX512) i = look_up_avx512(code, codes, absmax, count, y);
  else if (set == GRAFT_AVX2) i = look_up_avx2(code, codes, absmax, count, y);
#endif
  for (; i < count; ++i) y[i] = code[codes[i]] * absmax;
}

void graft_dequantize_blockwise(const float *code, const uint8_t *codes, const float *absmax,
                                int64_t count, int64_t block_size, int64_t first, int64_t end,
                                int32_t type, void *y) {
  graft_decode_blocks(look_up, code, codes, absmax, count, block_size, first, end, type, y);
}
