// The two tables of 16 numbers and what divides them.
#ifndef GRAFT_CODE_4BIT_H
#define GRAFT_CODE_4BIT_H

#include <stdint.h>

#include "InstructionSet.h"

extern const float graft_nf4_code[16];
extern const float graft_fp4_code[16];

// NF4: x gets code i when it is above i of these; the last one is never exceeded.
extern const float graft_nf4_threshold[16];

// FP4: |x| is above i of the first seven; then `graft_fp4_nibble[i]` is its code.
extern const float graft_fp4_threshold[8];
extern const uint8_t graft_fp4_nibble[8];

#ifdef GRAFT_X86
// Numbers of 8 codes, of which only the lowest four bits count: one half of the table or the other, by
// the highest of these.
TARGET_AVX2 static inline __m256 graft_4bit_numbers(__m256i code, __m256 low, __m256 high) {
  __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code),
                          upper);
}
#endif

#endif
