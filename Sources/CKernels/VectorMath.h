// Elementary functions without branches or calls, which compilers turn into vector code.
//
// No product is fused with a sum here, so that every instruction set gives the same bits.
#ifndef GRAFT_VECTOR_MATH_H
#define GRAFT_VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

#define GRAFT_INLINE static inline __attribute__((always_inline))

// The statements of e^x for x in [-87, 88], as a macro, since whether products are fused with sums is said
// where it is expanded.
//
// x = n ln 2 + r with |r| <= ln(2) / 2; e^r by Taylor's series, whose rest is below 6e-9. Adding
// 1.5 * 2^23 rounds to a whole number.
#define GRAFT_EXP(result, x)                                   \
  do {                                                         \
    const float magic = 12582912.0f;                           \
    float shifted = (x) * 1.44269504f + magic;                 \
    float n = shifted - magic;                                 \
    float r = ((x) - n * 0.693359375f) - n * -2.12194440e-4f;  \
    float p = 1.0f / 5040;                                     \
    p = p * r + 1.0f / 720;                                    \
    p = p * r + 1.0f / 120;                                    \
    p = p * r + 1.0f / 24;                                     \
    p = p * r + 1.0f / 6;                                      \
    p = p * r + 0.5f;                                          \
    p = p * r + 1.0f;                                          \
    p = p * r + 1.0f;                                          \
    int32_t bits, base;                                        \
    memcpy(&bits, &shifted, sizeof bits);                      \
    memcpy(&base, &magic, sizeof base);                        \
    bits = (int32_t)((uint32_t)(bits - base + 127) << 23);     \
    float power;                                               \
    memcpy(&power, &bits, sizeof power);                       \
    result = p * power;                                        \
  } while (0)

// e^x within 2 units in the last place for x in [-87, 88]; numbers outside are taken as the nearest
// one inside, so that e^-infinity is 1.6e-38. NaN stays NaN.
GRAFT_INLINE float graft_exp(float x) {
#pragma STDC FP_CONTRACT OFF
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  float result;
  GRAFT_EXP(result, x);
  return result;
}

// 1 / (1 + e^-x).
GRAFT_INLINE float graft_sigmoid(float x) { return 1.0f / (1.0f + graft_exp(-x)); }

// The bits of the nearest bfloat16, ties to even; NaN stays NaN.
GRAFT_INLINE uint16_t graft_rounded_to_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint32_t nearest = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : nearest);
}

GRAFT_INLINE float graft_widened(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float result;
  memcpy(&result, &bits, sizeof result);
  return result;
}

// Sums in this many columns, which are added up pairwise at the end: the same order on every
// instruction set.
enum { GRAFT_LANES = 16 };

GRAFT_INLINE float graft_sum_lanes(float *lanes) {
  for (int width = GRAFT_LANES / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

#endif
