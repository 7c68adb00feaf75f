// Rotary embedding.
#include "include/LayerKernels.h"
#include "VectorVariants.h"

#pragma STDC FP_CONTRACT OFF

GRAFT_INLINE void graft_rotate_body(const float *x, const float *cosine, const float *sine,
                                    float direction, int64_t heads, int64_t size, int64_t width,
                                    int64_t period, int64_t first, int64_t end, float *y) {
  int64_t half = width / 2;
  for (int64_t row = first; row < end; ++row) {
    const float *c = cosine + row % period * width, *s = sine + row % period * width;
    for (int64_t head = 0; head < heads; ++head) {
      const float *from = x + (row * heads + head) * size;
      float *to = y + (row * heads + head) * size;
GRAFT_SAME_PLACES
      for (int64_t i = 0; i < half; ++i) {
        float left = from[i], right = from[i + half], turn = direction * s[i];
        to[i] = left * c[i] - right * turn;
        to[i + half] = right * c[i] + left * turn;
      }
      if (to != from) memcpy(to + width, from + width, (size_t)(size - width) * sizeof(float));
    }
  }
}

GRAFT_VARIANTS(graft_rotate,
               (const float *x, const float *cosine, const float *sine, float direction,
                int64_t heads, int64_t size, int64_t width, int64_t period, int64_t first,
                int64_t end, float *y),
               (x, cosine, sine, direction, heads, size, width, period, first, end, y))
