// Each rule is written once. It is compiled for every instruction set and put into vectors by the
// compiler: additions, products, quotients and roots are rounded alike everywhere as long as none are
// contracted, so that all variants give the same bits.
#include "OptimizerRules.h"

#include <float.h>

#pragma STDC FP_CONTRACT OFF

#define INLINE static inline __attribute__((always_inline))

// A number, not bool, so that several can be joined without branches.
INLINE int is_finite(float x) { return __builtin_fabsf(x) <= FLT_MAX; }
// No errno, so that it can be put into vectors.
INLINE float root(float x) { return __builtin_elementwise_sqrt(x); }

// A sum of negative zeros becomes zero, so that a parameter that is -0 keeps its sign.
INLINE float with_decay(const graft_optimizer_step *s, float g, float w) {
  return g + s->decay * w + 0.0f;
}

#define PARAMETERS                                                                             \
  const graft_optimizer_step *step, float *restrict w, const float *restrict g,                \
      float *restrict a, float *restrict b, float *restrict v, int64_t count
#define UNUSED(x) (void)(x)

INLINE void adam(PARAMETERS, bool guards) {
  UNUSED(b);
  const graft_optimizer_step s = *step;
  for (int64_t i = 0; i < count; ++i) {
    float mean = s.beta1 * a[i] + s.gain1 * g[i];
    float square = s.beta2 * v[i] + s.gain2 * g[i] * g[i];
    float next = w[i] * s.keep - s.rate * (mean / (root(square) + s.epsilon));
    bool ok = !guards || (is_finite(mean) & is_finite(square));
    w[i] = ok ? next : w[i];
    a[i] = ok ? mean : 0;
    v[i] = ok ? square : 0;
  }
}

INLINE void lion(PARAMETERS, bool guards) {
  UNUSED(b);
  UNUSED(v);
  const graft_optimizer_step s = *step;
  for (int64_t i = 0; i < count; ++i) {
    float direction = s.beta1 * a[i] + s.gain1 * g[i];
    float mean = s.beta2 * a[i] + s.gain2 * g[i];
    float sign = (direction > 0 ? 1.0f : 0.0f) - (direction < 0 ? 1.0f : 0.0f);
    float next = w[i] * s.keep - s.rate * sign;
    bool ok = !guards || (is_finite(mean) & is_finite(direction));
    w[i] = ok ? next : w[i];
    a[i] = ok ? mean : 0;
  }
}

INLINE void momentum(PARAMETERS, bool guards) {
  UNUSED(b);
  UNUSED(v);
  const graft_optimizer_step s = *step;
  for (int64_t i = 0; i < count; ++i) {
    float direction = s.beta1 * a[i] + (g[i] + s.decay * w[i]);
    float next = w[i] - s.rate * direction;
    bool ok = !guards || is_finite(direction);
    w[i] = ok ? next : w[i];
    a[i] = ok ? direction : 0;
  }
}

INLINE void rmsprop(PARAMETERS, bool guards) {
  UNUSED(b);
  UNUSED(v);
  const graft_optimizer_step s = *step;
  for (int64_t i = 0; i < count; ++i) {
    float gradient = with_decay(&s, g[i], w[i]);
    float square = s.beta2 * a[i] + s.gain2 * gradient * gradient;
    float next = w[i] - s.rate * (gradient / (root(square) + s.epsilon));
    bool ok = !guards || is_finite(square);
    w[i] = ok ? next : w[i];
    a[i] = ok ? square : 0;
  }
}

INLINE void adagrad(PARAMETERS, bool guards) {
  UNUSED(b);
  UNUSED(v);
  const graft_optimizer_step s = *step;
  for (int64_t i = 0; i < count; ++i) {
    float gradient = with_decay(&s, g[i], w[i]);
    float square = a[i] + gradient * gradient;
    float next = w[i] - s.rate * (gradient / (root(square) + s.epsilon));
    bool ok = !guards || is_finite(square);
    w[i] = ok ? next : w[i];
    a[i] = ok ? square : 0;
  }
}

INLINE void ademamix(PARAMETERS, bool guards) {
  const graft_optimizer_step s = *step;
  for (int64_t i = 0; i < count; ++i) {
    float fast = s.beta1 * a[i] + s.gain1 * g[i];
    float slow = s.beta3 * b[i] + s.gain3 * g[i];
    float square = s.beta2 * v[i] + s.gain2 * g[i] * g[i];
    float direction = (fast * s.correction1 + s.alpha * slow) /
                      (root(square) * s.correction2 + s.epsilon);
    float next = w[i] * s.keep - s.rate * direction;
    bool ok = !guards || (is_finite(fast) & is_finite(slow) & is_finite(square));
    w[i] = ok ? next : w[i];
    a[i] = ok ? fast : 0;
    b[i] = ok ? slow : 0;
    v[i] = ok ? square : 0;
  }
}

// ---- Norms -----------------------------------------------------------------------------------

// Sums in a fixed number of lanes, so that the order of additions is the same everywhere.
enum { LANES = 16 };

#define NORM_PARAMETERS                                                                         \
  const graft_optimizer_step *step, const float *restrict w, const float *restrict g,           \
      const float *restrict a, const float *restrict v, int64_t count, double *restrict sums

INLINE double direction_of_adam(const graft_optimizer_step *s, float g, float a, float v,
                                bool guards) {
  float mean = s->beta1 * a + s->gain1 * g;
  float square = s->beta2 * v + s->gain2 * g * g;
  bool ok = !guards || (is_finite(mean) & is_finite(square));
  return ok ? (double)(mean / (root(square) + s->epsilon)) : 0.0;
}

INLINE double direction_of_momentum(const graft_optimizer_step *s, float g, float a, bool guards) {
  float direction = s->beta1 * a + g;
  return !guards || is_finite(direction) ? (double)direction : 0.0;
}

INLINE void add_norms(NORM_PARAMETERS, bool is_adam, bool guards) {
  const graft_optimizer_step s = *step;
  double own[LANES] = {0}, moved[LANES] = {0};
  for (int64_t i = 0; i < count; i += LANES) {
    int64_t some = count - i < LANES ? count - i : LANES;
    for (int64_t lane = 0; lane < some; ++lane) {
      int64_t k = i + lane;
      double x = (double)w[k];
      double d = is_adam ? direction_of_adam(&s, g[k], a[k], v[k], guards)
                         : direction_of_momentum(&s, g[k], a[k], guards);
      own[lane] += x * x;
      moved[lane] += d * d;
    }
  }
  for (int lane = 0; lane < LANES; ++lane) {
    sums[0] += own[lane];
    sums[1] += moved[lane];
  }
}

// ---- Variants --------------------------------------------------------------------------------

#define DEFINE_RULE(rule, set, attribute)                                                        \
  attribute static void rule##_##set(PARAMETERS) { rule(step, w, g, a, b, v, count, false); }    \
  attribute static void rule##_guarded_##set(PARAMETERS) { rule(step, w, g, a, b, v, count, true); }

#define DEFINE_NORMS(name, is_adam, guards, set, attribute)             \
  attribute static void name##_##set(NORM_PARAMETERS) {                 \
    add_norms(step, w, g, a, v, count, sums, is_adam, guards);          \
  }

#define NAMES(rule, set) {rule##_##set, rule##_guarded_##set}

// The order is that of the rules' numbers.
#define DEFINE_SET(set, attribute)                                                            \
  DEFINE_RULE(adam, set, attribute)                                                           \
  DEFINE_RULE(lion, set, attribute)                                                           \
  DEFINE_RULE(momentum, set, attribute)                                                       \
  DEFINE_RULE(rmsprop, set, attribute)                                                        \
  DEFINE_RULE(adagrad, set, attribute)                                                        \
  DEFINE_RULE(ademamix, set, attribute)                                                       \
  static const graft_rule rules_##set[][2] = {NAMES(adam, set),     NAMES(lion, set),         \
                                              NAMES(momentum, set), NAMES(rmsprop, set),      \
                                              NAMES(adagrad, set),  NAMES(ademamix, set)};    \
  DEFINE_NORMS(adam_norms, true, false, set, attribute)                                       \
  DEFINE_NORMS(adam_norms_guarded, true, true, set, attribute)                                \
  DEFINE_NORMS(momentum_norms, false, false, set, attribute)                                  \
  DEFINE_NORMS(momentum_norms_guarded, false, true, set, attribute)                           \
  static const graft_rule_norms norms_##set[][2] = {                                          \
      {adam_norms_##set, adam_norms_guarded_##set},                                           \
      {momentum_norms_##set, momentum_norms_guarded_##set}};

DEFINE_SET(scalar, )
#ifdef GRAFT_X86
DEFINE_SET(avx2, TARGET_AVX2)
DEFINE_SET(avx512, TARGET_AVX512)
#endif

graft_rule graft_find_rule(int32_t rule, bool guards) {
#ifdef GRAFT_X86
  if (graft_instruction_set() == GRAFT_AVX512) return rules_avx512[rule][guards];
  if (graft_instruction_set() == GRAFT_AVX2) return rules_avx2[rule][guards];
#endif
  return rules_scalar[rule][guards];
}

graft_rule_norms graft_find_rule_norms(int32_t rule, bool guards) {
  int32_t which = rule == GRAFT_MOMENTUM;
#ifdef GRAFT_X86
  if (graft_instruction_set() == GRAFT_AVX512) return norms_avx512[which][guards];
  if (graft_instruction_set() == GRAFT_AVX2) return norms_avx2[which][guards];
#endif
  return norms_scalar[which][guards];
}
