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

TARGET_AVX512 static int64_t look_up_avx512(const float *code, const uint8_t *codes, float absmax,
                                            int64_t count, float *y) {
  const __m512 scale = _mm512_set1_ps(absmax);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(codes + i)));
    _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_i32gather_ps(index, code, 4), scale));
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
