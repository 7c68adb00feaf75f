// silu(gate) * up and its derivatives.
#include "include/LayerKernels.h"
#include "VectorVariants.h"

#pragma STDC FP_CONTRACT OFF

GRAFT_INLINE void graft_exponential_body(const float *x, int64_t first, int64_t end, float *y) {
  for (int64_t i = first; i < end; ++i) y[i] = graft_exp(x[i]);
}

GRAFT_VARIANTS(graft_exponential, (const float *x, int64_t first, int64_t end, float *y),
               (x, first, end, y))

GRAFT_INLINE void graft_swiglu_body(const float *gate, const float *up, int64_t first, int64_t end,
                                    float *y) {
GRAFT_SAME_PLACES
  for (int64_t i = first; i < end; ++i) y[i] = gate[i] * graft_sigmoid(gate[i]) * up[i];
}

GRAFT_VARIANTS(graft_swiglu,
               (const float *gate, const float *up, int64_t first, int64_t end, float *y),
               (gate, up, first, end, y))

GRAFT_INLINE void graft_swiglu_rounding_body(const float *gate, const float *up, int64_t first,
                                             int64_t end, float *y, uint16_t *gate_rounded,
                                             uint16_t *up_rounded) {
GRAFT_SAME_PLACES
  for (int64_t i = first; i < end; ++i) {
    float x = gate[i], other = up[i];
    gate_rounded[i] = graft_rounded_to_bfloat16(x);
    up_rounded[i] = graft_rounded_to_bfloat16(other);
    y[i] = x * graft_sigmoid(x) * other;
  }
}

GRAFT_VARIANTS(graft_swiglu_rounding,
               (const float *gate, const float *up, int64_t first, int64_t end, float *y,
                uint16_t *gate_rounded, uint16_t *up_rounded),
               (gate, up, first, end, y, gate_rounded, up_rounded))

GRAFT_INLINE void graft_swiglu_backward_body(const float *gate, const float *up,
                                             const float *gradient, int64_t first, int64_t end,
                                             float *gate_gradient, float *up_gradient) {
GRAFT_SAME_PLACES
  for (int64_t i = first; i < end; ++i) {
    float x = gate[i], other = up[i], g = gradient[i];
    float s = graft_sigmoid(x);
    gate_gradient[i] = g * other * (s * (1.0f + x * (1.0f - s)));
    up_gradient[i] = g * (x * s);
  }
}

GRAFT_VARIANTS(graft_swiglu_backward,
               (const float *gate, const float *up, const float *gradient, int64_t first,
                int64_t end, float *gate_gradient, float *up_gradient),
               (gate, up, gradient, first, end, gate_gradient, up_gradient))

GRAFT_INLINE void graft_swiglu_of_rounded_body(const uint16_t *gate, const uint16_t *up,
                                               int64_t first, int64_t end, float *y) {
GRAFT_SAME_PLACES
  for (int64_t i = first; i < end; ++i) {
    float x = graft_widened(gate[i]);
    y[i] = x * graft_sigmoid(x) * graft_widened(up[i]);
  }
}

GRAFT_VARIANTS(graft_swiglu_of_rounded,
               (const uint16_t *gate, const uint16_t *up, int64_t first, int64_t end, float *y),
               (gate, up, first, end, y))

GRAFT_INLINE void graft_swiglu_backward_of_rounded_body(const uint16_t *gate, const uint16_t *up,
                                                        const float *gradient, int64_t first,
                                                        int64_t end, float *gate_gradient,
                                                        float *up_gradient) {
GRAFT_SAME_PLACES
  for (int64_t i = first; i < end; ++i) {
    float x = graft_widened(gate[i]), other = graft_widened(up[i]), g = gradient[i];
    float s = graft_sigmoid(x);
    gate_gradient[i] = g * other * (s * (1.0f + x * (1.0f - s)));
    up_gradient[i] = g * (x * s);
  }
}

GRAFT_VARIANTS(graft_swiglu_backward_of_rounded,
               (const uint16_t *gate, const uint16_t *up, const float *gradient, int64_t first,
                int64_t end, float *gate_gradient, float *up_gradient),
               (gate, up, gradient, first, end, gate_gradient, up_gradient))
