// Attention of one position over a cache of keys and values.
#include <math.h>

#include "include/DecodingKernels.h"
#include "VectorVariants.h"

#pragma clang fp contract(fast)

// Query heads that share keys are done together, so that these are read once.
enum { TOGETHER = 4 };

int64_t graft_attend_workspace(const graft_cached_attention *a) {
  return TOGETHER * ((a->length + GRAFT_LANES - 1) / GRAFT_LANES * GRAFT_LANES);
}

GRAFT_INLINE float dot(const float *a, const float *b, int64_t count) {
  float sums[GRAFT_LANES] = {0};
  int64_t i = 0;
  for (; i + GRAFT_LANES <= count; i += GRAFT_LANES) {
    for (int j = 0; j < GRAFT_LANES; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (int j = 0; i < count; ++i, ++j) sums[j] += a[i] * b[i];
  return graft_sum_lanes(sums);
}

// The scores of one head to their exponentials less the largest; 1 / their sum, or 0 where all are
// hidden.
GRAFT_INLINE float shares(const graft_cached_attention *a, const uint8_t *visible, float *scores) {
  const int64_t length = a->length;
  if (a->softcap > 0) {
    // By the C library's function: formulas with e^x lose what is small beside 1.
    for (int64_t t = 0; t < length; ++t) {
      scores[t] = a->softcap * tanhf(scores[t] / a->softcap);
    }
  }
  float largest = -INFINITY;
  if (visible) {
    for (int64_t t = 0; t < length; ++t) scores[t] = visible[t] ? scores[t] : -INFINITY;
  }
  for (int64_t t = 0; t < length; ++t) largest = scores[t] > largest ? scores[t] : largest;
  if (largest == -INFINITY) {
    for (int64_t t = 0; t < length; ++t) scores[t] = 0;
    return 0;
  }
  float sums[GRAFT_LANES] = {0};
  int64_t t = 0;
  for (; t + GRAFT_LANES <= length; t += GRAFT_LANES) {
    for (int j = 0; j < GRAFT_LANES; ++j) {
      float share = graft_exp(scores[t + j] - largest);
      share = scores[t + j] == -INFINITY ? 0 : share;
      scores[t + j] = share;
      sums[j] += share;
    }
  }
  for (; t < length; ++t) {
    scores[t] = scores[t] == -INFINITY ? 0 : graft_exp(scores[t] - largest);
    sums[0] += scores[t];
  }
  return 1 / graft_sum_lanes(sums);
}

// One stretch of dimensions of what the heads get: `width` is a constant where this is expanded.
GRAFT_INLINE void mix(const float *value, const float *scores, int64_t room, int64_t length,
                      int64_t size, const int heads, const int width, const float *factors,
                      float *y) {
  float sums[TOGETHER][64];
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < width; ++i) sums[h][i] = 0;
  }
  for (int64_t t = 0; t < length; ++t) {
    for (int h = 0; h < heads; ++h) {
      const float share = scores[h * room + t];
      for (int i = 0; i < width; ++i) sums[h][i] += share * value[t * size + i];
    }
  }
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < width; ++i) y[h * size + i] = sums[h][i] * factors[h];
  }
}

// `heads` query heads from `query` on, which share keys and values.
GRAFT_INLINE void attend(const graft_cached_attention *a, const float *query, const float *key,
                         const float *value, const uint8_t *visible, const int heads,
                         float *scores, float *y) {
  const int64_t size = a->size, length = a->length, room = graft_attend_workspace(a) / TOGETHER;
  for (int64_t t = 0; t < length; ++t) {
    for (int h = 0; h < heads; ++h) {
      const float *q = query + h * size, *k = key + t * size;
      // The usual sizes of a head, without loops over parts of it.
      const float product = size == 64 ? dot(q, k, 64) : size == 128 ? dot(q, k, 128) : dot(q, k, size);
      scores[h * room + t] = product * a->scale;
    }
  }
  float factors[TOGETHER];
  for (int h = 0; h < heads; ++h) factors[h] = shares(a, visible, scores + h * room);
  int64_t i = 0;
  for (; i + 64 <= size; i += 64) {
    mix(value + i, scores, room, length, size, heads, 64, factors, y + i);
  }
  for (; i + 16 <= size; i += 16) {
    mix(value + i, scores, room, length, size, heads, 16, factors, y + i);
  }
  for (; i < size; ++i) mix(value + i, scores, room, length, size, heads, 1, factors, y + i);
}

GRAFT_INLINE void graft_attend_body(const graft_cached_attention *a, int64_t first, int64_t end,
                                    float *workspace) {
  const int64_t shared = a->heads / a->groups;
  for (int64_t pair = first; pair < end; ++pair) {
    const int64_t row = pair / a->groups, group = pair % a->groups;
    const float *key = a->key + pair * a->capacity * a->size;
    const float *value = a->value + pair * a->capacity * a->size;
    const uint8_t *visible = a->visible ? a->visible + row * a->visible_stride : 0;
    for (int64_t head = group * shared; head < (group + 1) * shared;) {
      const int64_t left = (group + 1) * shared - head, at = (row * a->heads + head) * a->size;
      const float *query = a->query + at;
      float *y = a->y + at;
      switch (left < TOGETHER ? left : TOGETHER) {
        case 1: attend(a, query, key, value, visible, 1, workspace, y); break;
        case 2: attend(a, query, key, value, visible, 2, workspace, y); break;
        case 3: attend(a, query, key, value, visible, 3, workspace, y); break;
        default: attend(a, query, key, value, visible, TOGETHER, workspace, y); break;
      }
      head += TOGETHER;
    }
  }
}

GRAFT_VARIANTS(graft_attend,
               (const graft_cached_attention *a, int64_t first, int64_t end, float *workspace),
               (a, first, end, workspace))
