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

GRAFT_INLINE void graft_cross_entropy_body(float *scores, const int64_t *label, int64_t size,
                                           bool writes, int64_t first, int64_t end, float *loss,
                                           float *factor) {
  // Sums of a stretch are added in float64, so that a long vocabulary costs no digits.
  enum { STRETCH = 4096 };
  for (int64_t row = first; row < end; ++row) {
    float *z = scores + row * size;
    float top = largest(z, size), answer = z[label[row]];
    double sum = 0;
    for (int64_t start = 0; start < size; start += STRETCH) {
      int64_t stop = start + STRETCH < size ? start + STRETCH : size, i = start;
      float lanes[GRAFT_LANES] = {0};
      for (; i + GRAFT_LANES <= stop; i += GRAFT_LANES) {
        float values[GRAFT_LANES];
        for (int j = 0; j < GRAFT_LANES; ++j) values[j] = graft_exp(z[i + j] - top);
        for (int j = 0; j < GRAFT_LANES; ++j) lanes[j] += values[j];
        if (writes) memcpy(z + i, values, sizeof values);
      }
      for (int j = 0; i < stop; ++i, ++j) {
        float value = graft_exp(z[i] - top);
        lanes[j] += value;
        if (writes) z[i] = value;
      }
      sum += graft_sum_lanes(lanes);
    }
    loss[row] = (float)(log(sum) + ((double)top - (double)answer));
    factor[row] = (float)(1 / sum);
  }
}

GRAFT_VARIANTS(graft_cross_entropy,
               (float *scores, const int64_t *label, int64_t size, bool writes, int64_t first,
                int64_t end, float *loss, float *factor),
               (scores, label, size, writes, first, end, loss, factor))
