// Root-mean-square normalisation of rows and its derivative.
#include <math.h>

#include "include/LayerKernels.h"
#include "VectorVariants.h"

#pragma STDC FP_CONTRACT OFF

// The sum of a[i] * b[i] * c[i], c being 1 where it is NULL.
GRAFT_INLINE float product_sum(const float *a, const float *b, const float *c, int64_t count) {
  float lanes[GRAFT_LANES] = {0};
  int64_t i = 0;
  for (; i + GRAFT_LANES <= count; i += GRAFT_LANES) {
    for (int j = 0; j < GRAFT_LANES; ++j) {
      float term = a[i + j] * b[i + j];
      lanes[j] += c ? term * c[i + j] : term;
    }
  }
  for (int j = 0; i < count; ++i, ++j) lanes[j] += c ? a[i] * b[i] * c[i] : a[i] * b[i];
  return graft_sum_lanes(lanes);
}

GRAFT_INLINE void graft_rms_norm_again_body(const float *x, const float *weight,
                                            const float *scale, int64_t size, int64_t first,
                                            int64_t end, float *y) {
  for (int64_t row = first; row < end; ++row) {
    const float *from = x + row * size;
    float *to = y + row * size, factor = scale[row];
    for (int64_t i = 0; i < size; ++i) to[i] = from[i] * factor * weight[i];
  }
}

GRAFT_VARIANTS(graft_rms_norm_again,
               (const float *x, const float *weight, const float *scale, int64_t size,
                int64_t first, int64_t end, float *y),
               (x, weight, scale, size, first, end, y))

GRAFT_INLINE void graft_rms_norm_body(const float *x, const float *weight, float epsilon,
                                      int64_t size, int64_t first, int64_t end, float *y,
                                      float *scale) {
  for (int64_t row = first; row < end; ++row) {
    const float *from = x + row * size;
    scale[row] = 1.0f / sqrtf(product_sum(from, from, 0, size) / (float)size + epsilon);
    graft_rms_norm_again_body(x, weight, scale, size, row, row + 1, y);
  }
}

GRAFT_VARIANTS(graft_rms_norm,
               (const float *x, const float *weight, float epsilon, int64_t size, int64_t first,
                int64_t end, float *y, float *scale),
               (x, weight, epsilon, size, first, end, y, scale))

GRAFT_INLINE void graft_rms_norm_backward_body(const float *x, const float *weight,
                                               const float *scale, const float *gradient,
                                               const float *addend, int64_t size, int64_t first,
                                               int64_t end, float *x_gradient) {
  for (int64_t row = first; row < end; ++row) {
    const float *from = x + row * size, *g = gradient + row * size;
    float *to = x_gradient + row * size, factor = scale[row];
    // mean(h n) = scale * mean(gradient * weight * x).
    float mean = product_sum(g, weight, from, size) / (float)size * factor;
    float share = mean * factor;
GRAFT_SAME_PLACES
    for (int64_t i = 0; i < size; ++i) to[i] = (g[i] * weight[i] - from[i] * share) * factor;
    if (addend == 0) continue;
    const float *more = addend + row * size;
    for (int64_t i = 0; i < size; ++i) to[i] += more[i];
  }
}

GRAFT_VARIANTS(graft_rms_norm_backward,
               (const float *x, const float *weight, const float *scale, const float *gradient,
                const float *addend, int64_t size, int64_t first, int64_t end, float *x_gradient),
               (x, weight, scale, gradient, addend, size, first, end, x_gradient))
