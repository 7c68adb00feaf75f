// Cross entropy of rows of scores.
#include <math.h>

#include "include/LayerKernels.h"
#include "VectorVariants.h"

#pragma STDC FP_CONTRACT OFF

GRAFT_INLINE float largest(const float *x, int64_t count) {
  float lanes[GRAFT_LANES];
  for (int j = 0; j < GRAFT_LANES; ++j) lanes[j] = -INFINITY;
  int64_t i = 0;
  for (; i + GRAFT_LANES <= count; i += GRAFT_LANES) {
    for (int j = 0; j < GRAFT_LANES; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (int j = 0; i < count; ++i, ++j) lanes[j] = x[i] > lanes[j] ? x[i] : lanes[j];
  float result = lanes[0];
  for (int j = 1; j < GRAFT_LANES; ++j) result = lanes[j] > result ? lanes[j] : result;
  return result;
}

GRAFT_INLINE void graft_cross_entropy_block_body(const float *scores, const int64_t *label,
                                                 int64_t start, int64_t size, float *shares,
                                                 uint16_t *short_shares, int64_t first,
                                                 int64_t end, float *top, double *sum,
                                                 float *answer, float *factor) {
  // Sums of a stretch are added in float64, so that a long vocabulary costs no digits.
  enum { STRETCH = 4096 };
  for (int64_t row = first; row < end; ++row) {
    const float *z = scores + row * size;
    int64_t place = label[row] - start;
    if (place >= 0 && place < size) answer[row] = z[place];
    float highest = largest(z, size);
    if (!(highest > top[row])) highest = top[row];
    factor[row] = top[row] == -INFINITY ? 0 : expf(top[row] - highest);
    double total = sum[row] * (double)factor[row];
    for (int64_t begin = 0; begin < size; begin += STRETCH) {
      int64_t stop = begin + STRETCH < size ? begin + STRETCH : size, i = begin;
      float lanes[GRAFT_LANES] = {0};
      for (; i + GRAFT_LANES <= stop; i += GRAFT_LANES) {
        float values[GRAFT_LANES];
        for (int j = 0; j < GRAFT_LANES; ++j) values[j] = graft_exp(z[i + j] - highest);
        for (int j = 0; j < GRAFT_LANES; ++j) lanes[j] += values[j];
        if (shares) memcpy(shares + row * size + i, values, sizeof values);
        if (short_shares) {
          uint16_t *to = short_shares + row * size + i;
          for (int j = 0; j < GRAFT_LANES; ++j) to[j] = graft_rounded_to_bfloat16(values[j]);
        }
      }
      for (int j = 0; i < stop; ++i, ++j) {
        float value = graft_exp(z[i] - highest);
        lanes[j] += value;
        if (shares) shares[row * size + i] = value;
        if (short_shares) short_shares[row * size + i] = graft_rounded_to_bfloat16(value);
      }
      total += graft_sum_lanes(lanes);
    }
    top[row] = highest;
    sum[row] = total;
  }
}

GRAFT_VARIANTS(graft_cross_entropy_block,
               (const float *scores, const int64_t *label, int64_t start, int64_t size,
                float *shares, uint16_t *short_shares, int64_t first, int64_t end, float *top,
                double *sum, float *answer, float *factor),
               (scores, label, start, size, shares, short_shares, first, end, top, sum, answer,
                factor))

void graft_cross_entropy_end(const float *top, const double *sum, const float *answer,
                             int64_t first, int64_t end, float *loss, float *factor) {
  for (int64_t row = first; row < end; ++row) {
    loss[row] = (float)(log(sum[row]) + ((double)top[row] - (double)answer[row]));
    factor[row] = (float)(1 / sum[row]);
  }
}
