// AdamW's step over float32 tensors in one pass, in the order of operations of torch.optim.AdamW.
#include "VectorVariants.h"
#include "include/CKernels.h"
#include "include/Optimizers.h"

GRAFT_INLINE void graft_adamw_step_body(const graft_adamw *step, const float *gradient,
                                        int64_t first, int64_t end, float *weight, float *mean,
                                        float *square) {
#pragma STDC FP_CONTRACT OFF
  const graft_adamw s = *step;
  GRAFT_SAME_PLACES
  for (int64_t i = first; i < end; ++i) {
    float g = gradient[i], m = mean[i], v = square[i];
    m = __builtin_elementwise_fma(s.mean_gain, g - m, m);
    v = v * s.beta2 + s.square_gain * g * g;
    float root = __builtin_elementwise_sqrt(v) / s.root_correction + s.epsilon;
    weight[i] = weight[i] * s.keep - s.rate * m / root;
    mean[i] = m;
    square[i] = v;
  }
}

GRAFT_VARIANTS(graft_adamw_step,
               (const graft_adamw *step, const float *gradient, int64_t first, int64_t end,
                float *weight, float *mean, float *square),
               (step, gradient, first, end, weight, mean, square))
