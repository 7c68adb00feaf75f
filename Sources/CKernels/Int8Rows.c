// Int8 products of few rows, with the weight read as it lies.
#include "Int8Tile.h"

static int32_t dot_scalar(const int8_t *x, const int8_t *w, int64_t from, int64_t depth) {
  int32_t sum = 0;
  for (int64_t k = from; k < depth; ++k) sum += (int32_t)x[k] * w[k];
  return sum;
}

#ifdef GRAFT_X86
// One output and up to four rows. |w| is unsigned and x takes w's sign, so that neighbouring products
// stay below 2^15 and nothing saturates.
TARGET_AVX2 static inline __attribute__((always_inline)) void dots_avx2(
    const int8_t *x, const int rows, int64_t depth, const int8_t *w, int32_t *sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum[4] = {0};
  int64_t k = 0;
  for (; k + 32 <= depth; k += 32) {
    __m256i weight = _mm256_loadu_si256((const __m256i *)(w + k));
    __m256i magnitude = _mm256_abs_epi8(weight);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      __m256i value = _mm256_loadu_si256((const __m256i *)(x + r * depth + k));
      __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(value, weight));
      sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(pairs, ones));
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum[r]), _mm256_extracti128_si256(sum[r], 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    sums[r * GRAFT_PANEL] = _mm_cvtsi128_si32(half) + dot_scalar(x + r * depth, w, k, depth);
  }
}

TARGET_AVX2 static void rows_avx2(const int8_t *x, int64_t rows, int64_t depth, const int8_t *w,
                                  int32_t *sums) {
  switch (rows) {
    case 1: dots_avx2(x, 1, depth, w, sums); break;
    case 2: dots_avx2(x, 2, depth, w, sums); break;
    case 3: dots_avx2(x, 3, depth, w, sums); break;
    default: dots_avx2(x, 4, depth, w, sums); break;
  }
}

#define TARGET_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

// Outputs that are done together, so that several rows of the weight come from memory at a time.
enum { TOGETHER = 4 };

// How far in front of what is read memory is asked for, in bytes: processors stop by themselves at the
// end of each page.
enum { AHEAD = 8192 };

TARGET_VNNI static inline __attribute__((always_inline)) void dots_vnni(
    const int8_t *x, const int rows, int64_t depth, const int8_t *w, const int outputs,
    int32_t *sums) {
  const __m512i offset = _mm512_set1_epi8((char)0x80);
  __m512i sum[4][TOGETHER] = {0}, extra[4] = {0};
  for (int64_t k = 0; k < depth; k += 64) {
    __mmask64 bytes = depth - k >= 64 ? ~0ull : (1ull << (depth - k)) - 1;
    __m512i value[4];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      value[r] = _mm512_maskz_loadu_epi8(bytes, x + r * depth + k);
      extra[r] = _mm512_dpbusd_epi32(extra[r], offset, value[r]);
    }
#pragma clang loop unroll(full)
    for (int n = 0; n < outputs; ++n) {
      __m512i weight = _mm512_maskz_loadu_epi8(bytes, w + n * depth + k);
      __builtin_prefetch(w + n * depth + k + AHEAD);
      weight = _mm512_xor_si512(weight, offset);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        sum[r][n] = _mm512_dpbusd_epi32(sum[r][n], weight, value[r]);
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
    for (int n = 0; n < outputs; ++n) {
      sums[r * GRAFT_PANEL + n] =
          _mm512_reduce_add_epi32(_mm512_sub_epi32(sum[r][n], extra[r]));
    }
  }
}

TARGET_VNNI static void rows_vnni(const int8_t *x, int64_t rows, int64_t depth, const int8_t *w,
                                  int64_t count, int32_t *sums) {
  int64_t n = 0;
  for (; n + TOGETHER <= count; n += TOGETHER) {
    switch (rows) {
      case 1: dots_vnni(x, 1, depth, w + n * depth, TOGETHER, sums + n); break;
      case 2: dots_vnni(x, 2, depth, w + n * depth, TOGETHER, sums + n); break;
      case 3: dots_vnni(x, 3, depth, w + n * depth, TOGETHER, sums + n); break;
      default: dots_vnni(x, 4, depth, w + n * depth, TOGETHER, sums + n); break;
    }
  }
  for (; n < count; ++n) {
    for (int64_t r = 0; r < rows; ++r) {
      dots_vnni(x + r * depth, 1, depth, w + n * depth, 1, sums + r * GRAFT_PANEL + n);
    }
  }
}
#endif

void graft_multiply_rows(const int8_t *x, int64_t rows, int64_t depth, const int8_t *weight,
                         int64_t count, int32_t *sums) {
#ifdef GRAFT_X86
  if (graft_has_int8_dot()) {
    rows_vnni(x, rows, depth, weight, count, sums);
    return;
  }
  if (graft_instruction_set() >= GRAFT_AVX2) {
    for (int64_t n = 0; n < count; ++n) rows_avx2(x, rows, depth, weight + n * depth, sums + n);
    return;
  }
#endif
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t n = 0; n < count; ++n) {
      sums[r * GRAFT_PANEL + n] = dot_scalar(x + r * depth, weight + n * depth, 0, depth);
    }
  }
}
