// Steps of optimisers: state and parameter of a block are read, changed and written in one pass.
#ifndef CKERNELS_OPTIMIZERS_H
#define CKERNELS_OPTIMIZERS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Most elements of a block; what is decoded lives on the stack.
enum { GRAFT_LARGEST_OPTIMIZER_BLOCK = 1024 };

// In the comments below w is an element of the parameter, g of its gradient, a of state 1, b of the
// slow state, v of state 2.
enum {
  // a = beta1 a + gain1 g, v = beta2 v + gain2 g^2, w = w keep - rate a / (sqrt(v) + epsilon)
  GRAFT_ADAM = 0,
  // w = w keep - rate sign(beta1 a + gain1 g), then a = beta2 a + gain2 g
  GRAFT_LION = 1,
  // a = beta1 a + (g + decay w), w = w - rate a
  GRAFT_MOMENTUM = 2,
  // h = g + decay w, a = beta2 a + gain2 h^2, w = w - rate h / (sqrt(a) + epsilon)
  GRAFT_RMSPROP = 3,
  // h = g + decay w, a = a + h^2, w = w - rate h / (sqrt(a) + epsilon)
  GRAFT_ADAGRAD = 4,
  // a and v as Adam, b = beta3 b + gain3 g,
  // w = w keep - rate (correction1 a + alpha b) / (correction2 sqrt(v) + epsilon)
  GRAFT_ADEMAMIX = 5,
};

// One step of a rule, with all that depends on the count of steps worked out.
typedef struct {
  int32_t rule;
  float rate;
  float keep;   // What decoupled weight decay leaves of a parameter; 1 without.
  float decay;  // Share of a parameter that is added to its gradient.
  float epsilon;
  float beta1, beta2, beta3;
  float gain1, gain2, gain3;  // 1 - beta, rounded from the exact difference.
  float alpha, correction1, correction2;
} graft_optimizer_step;

// A state of the parameter's size: float32, or codes of 8 bits for blocks with their largest
// magnitudes. A block of codes whose magnitude is 0 is zeros, whatever the codes are.
typedef struct {
  void *_Nullable values;                      // NULL where the rule has no such state.
  float *_Nullable absmax;                     // Of codes, one for each block.
  const graft_code_search *_Nullable search;  // What codes mean; NULL for float32.
} graft_optimizer_state;

// A parameter of `count` elements with all that belongs to it.
typedef struct {
  void *_Nonnull parameter;
  int32_t parameter_type;
  const void *_Nonnull gradient;
  int32_t gradient_type;
  int64_t count;
  int64_t block_size;  // At most GRAFT_LARGEST_OPTIMIZER_BLOCK; the last block may be short.
  graft_optimizer_state state1, slow, state2;
} graft_optimized;

// Makes a step in blocks first ..< end. Arithmetic is in float32 and not contracted; the parameter is
// rounded once to its type. The step uses the state before it is encoded again.
//
// With states in codes an element whose new state is not finite (its gradient is NaN, infinite or too
// large) gets a state of zeros, and its parameter stays: otherwise it would spoil its whole block.
// With float32 states such numbers go where arithmetic takes them.
void graft_optimizer_update(const graft_optimizer_step *_Nonnull step,
                            const graft_optimized *_Nonnull tensors, int64_t first, int64_t end);

// For blocks first ..< end: sums[2 block] = the sum of squares of the parameter, sums[2 block + 1]
// that of the direction that the step would take. Adam: a / (sqrt(v) + epsilon). Momentum: a without
// decay. Nothing is changed. Elements as above that would not move do not count.
void graft_optimizer_norms(const graft_optimizer_step *_Nonnull step,
                           const graft_optimized *_Nonnull tensors, int64_t first, int64_t end,
                           double *_Nonnull sums);

// AdamW's step, with all that depends on the count of steps t worked out.
typedef struct {
  float mean_gain, beta2, square_gain;  // 1 - b1, b2, 1 - b2
  float root_correction, epsilon;       // sqrt(1 - b2^t)
  float keep, rate;                     // 1 - rate of learning * decay; rate of learning / (1 - b1^t)
} graft_adamw;

// mean += mean_gain (g - mean), square = beta2 square + square_gain g^2,
// weight = keep weight - rate mean / (sqrt(square) / root_correction + epsilon), elements first ..< end.
void graft_adamw_step(const graft_adamw *_Nonnull step, const float *_Nonnull gradient,
                      int64_t first, int64_t end, float *_Nonnull weight, float *_Nonnull mean,
                      float *_Nonnull square);

#ifdef __cplusplus
}
#endif
#endif
