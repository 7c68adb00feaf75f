// Words' shares of rows, parted into large ones, which meet the head's numbers in float32, and the rest,
// which are rounded for a product with less digits.
#include "InstructionSet.h"
#include "MatrixTile.h"
#include "VectorVariants.h"
#include "include/BFloat16Kernels.h"
#include "include/LayerKernels.h"

#pragma STDC FP_CONTRACT OFF

#ifdef GRAFT_X86
#define TARGET_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

// Whole groups of 16 words; returns the words that were done.
TARGET_BF16 static int64_t split_avx512(const float *shares, float limit, int64_t size,
                                        uint16_t *rest, uint16_t *large) {
  const __m512 limits = _mm512_set1_ps(limit);
  int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    const __m512 values = _mm512_loadu_ps(shares + i);
    const __mmask16 chosen = _mm512_cmp_ps_mask(values, limits, _CMP_GE_OQ);
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(values);
    _mm256_storeu_si256((__m256i *)(rest + i),
                        _mm256_maskz_mov_epi16((__mmask16)~chosen, rounded));
    large[i / 16] = chosen;
  }
  return i;
}
#endif

void graft_split_shares(const float *shares, const double *sum, double least, int64_t size,
                        int64_t first, int64_t end, uint16_t *rest, uint16_t *large) {
  const int64_t groups = (size + 15) / 16;
  for (int64_t row = first; row < end; ++row) {
    const float *from = shares + row * size, limit = (float)(sum[row] * least);
    uint16_t *to = rest + row * size, *bits = large + row * groups;
    int64_t i = 0;
#ifdef GRAFT_X86
    if (graft_has_bfloat16_dot()) i = split_avx512(from, limit, size, to, bits);
#endif
    for (; i < size; i += 16) {
      const int64_t some = size - i < 16 ? size - i : 16;
      uint16_t group = 0;
      for (int64_t j = 0; j < some; ++j) {
        const bool chosen = from[i + j] >= limit;
        to[i + j] = chosen ? 0 : graft_rounded_to_bfloat16(from[i + j]);
        group |= (uint16_t)(chosen << j);
      }
      bits[i / 16] = group;
    }
  }
}

// Large words of a row that are added at a time, and vectors of the sum that stay in registers meanwhile.
enum { SOME = 64, WIDE = 12 };

// sum[columns of 16] += shares[i] weight[i, ...] for i of a list. `columns` is known when it is compiled.
GRAFT_INLINE void add_columns(const float *shares, const int32_t *words, int64_t count,
                              const float *weight, int64_t depth, float *sum, const int columns) {
  graft_vector sums[WIDE];
#pragma clang loop unroll(full)
  for (int j = 0; j < columns; ++j) GRAFT_LOAD(sums[j], sum + j * GRAFT_WIDTH);
  for (int64_t i = 0; i < count; ++i) {
    const float share = shares[words[i]], *row = weight + words[i] * depth;
#pragma clang loop unroll(full)
    for (int j = 0; j < columns; ++j) {
      graft_vector numbers;
      GRAFT_LOAD(numbers, row + j * GRAFT_WIDTH);
      sums[j] = sums[j] + numbers * share;
    }
  }
#pragma clang loop unroll(full)
  for (int j = 0; j < columns; ++j) GRAFT_STORE(sum + j * GRAFT_WIDTH, sums[j]);
}

GRAFT_INLINE void add_words(const float *shares, const int32_t *words, int64_t count,
                            const float *weight, int64_t depth, float *sum) {
  int64_t d = 0;
  for (; d + WIDE * GRAFT_WIDTH <= depth; d += WIDE * GRAFT_WIDTH) {
    add_columns(shares, words, count, weight + d, depth, sum + d, WIDE);
  }
  for (; d + GRAFT_WIDTH <= depth; d += GRAFT_WIDTH) {
    add_columns(shares, words, count, weight + d, depth, sum + d, 1);
  }
  for (; d < depth; ++d) {
    for (int64_t i = 0; i < count; ++i) sum[d] += shares[words[i]] * weight[words[i] * depth + d];
  }
}

GRAFT_INLINE void graft_add_large_shares_body(const float *shares, const uint16_t *large,
                                              int64_t size, const float *weight, int64_t depth,
                                              const float *row_scale, int64_t first, int64_t end,
                                              float *sum) {
  const int64_t groups = (size + 15) / 16;
  for (int64_t row = first; row < end; ++row) {
    int32_t words[SOME];
    int64_t count = 0;
    if (row_scale != NULL) {
      for (int64_t d = 0; d < depth; ++d) sum[row * depth + d] *= row_scale[row];
    }
    for (int64_t g = 0; g < groups; ++g) {
      uint32_t group = large[row * groups + g];
      for (; group != 0; group &= group - 1) {
        words[count++] = (int32_t)(16 * g + __builtin_ctz(group));
      }
      if (count > SOME - 16 || (g + 1 == groups && count > 0)) {
        add_words(shares + row * size, words, count, weight, depth, sum + row * depth);
        count = 0;
      }
    }
  }
}

GRAFT_VARIANTS(graft_add_large_shares,
               (const float *shares, const uint16_t *large, int64_t size, const float *weight,
                int64_t depth, const float *row_scale, int64_t first, int64_t end, float *sum),
               (shares, large, size, weight, depth, row_scale, first, end, sum))
