// Attention, backward.
#include "AttentionBlock.h"
#include "VectorVariants.h"

// Of a row: shares from scores, in place, and the scores' gradient from the shares', in place.
GRAFT_INLINE void pull_back_scores(float *scores, float *gradient, int64_t width, float log_sum,
                                   float mean, float scale) {
  for (int64_t i = 0; i < width; i += GRAFT_WIDTH) {
    float shares[GRAFT_WIDTH];
    for (int j = 0; j < GRAFT_WIDTH; ++j) shares[j] = graft_share(scores[i + j], log_sum);
    // Vectors, as in graft_mask_scores.
    graft_vector share, inner;
    GRAFT_LOAD(share, shares);
    GRAFT_LOAD(inner, gradient + i);
    inner = share * (inner - mean) * scale;
    GRAFT_STORE(scores + i, share);
    GRAFT_STORE(gradient + i, inner);
  }
}

GRAFT_INLINE float dot(const float *x, const float *y, int64_t count) {
  float lanes[GRAFT_LANES] = {0};
  for (int64_t i = 0; i < count; i += GRAFT_LANES) {
    for (int j = 0; j < GRAFT_LANES; ++j) lanes[j] += x[i + j] * y[i + j];
  }
  return graft_sum_lanes(lanes);
}

GRAFT_INLINE void backward_body(const graft_attention *a, int64_t first, int64_t end,
                                const int tall, const int wide) {
  float scores[GRAFT_QUERIES * GRAFT_KEYS], inner[GRAFT_QUERIES * GRAFT_KEYS];
  int64_t size = a->size;
  for (int64_t unit = first; unit < end; ++unit) {
    int64_t head = unit % a->heads, batch = unit / a->heads, group = head / (a->heads / a->groups);
#define ROWS_OF(name, index) a->name + batch * a->name##_strides.batch + (index) * a->name##_strides.head
    const float *query = ROWS_OF(query, head), *key = ROWS_OF(key, group);
    const float *output = ROWS_OF(output, head), *gradient = ROWS_OF(output_gradient, head);
    float *query_gradient = ROWS_OF(query_gradient, head);
#undef ROWS_OF
    int64_t pair = (batch * a->groups + group) * size * a->padded;
    const float *key_columns = a->key_columns + pair, *value_columns = a->value_columns + pair;
    float *key_gradient = a->key_gradient + unit * a->key_length * size;
    float *value_gradient = a->value_gradient + unit * a->key_length * size;
    memset(key_gradient, 0, (size_t)(a->key_length * size) * sizeof(float));
    memset(value_gradient, 0, (size_t)(a->key_length * size) * sizeof(float));
    for (int64_t row = 0; row < a->length; row += GRAFT_QUERIES) {
      int64_t rows = a->length - row < GRAFT_QUERIES ? a->length - row : GRAFT_QUERIES;
      float means[GRAFT_QUERIES];
      for (int64_t i = 0; i < rows; ++i) {
        means[i] = dot(gradient + (row + i) * a->output_gradient_strides.row,
                       output + (row + i) * a->output_strides.row, size);
        memset(query_gradient + (row + i) * a->query_gradient_strides.row, 0,
               (size_t)size * sizeof(float));
      }
      for (int64_t start = 0; start < a->key_length; start += GRAFT_KEYS) {
        if (graft_seen_keys(a, row + rows, start) <= 0) break;
        const int64_t joint = graft_joint_rows(a, row, rows, start, 4 * tall);
        for (int64_t i = 0; i < rows; i += joint) {
          int64_t some = rows - i < joint ? rows - i : joint;
          int64_t count = graft_seen_keys(a, row + i + some, start);
          if (count <= 0) continue;
          int64_t width = (count + GRAFT_WIDTH - 1) / GRAFT_WIDTH * GRAFT_WIDTH;
          const float *some_queries = query + (row + i) * a->query_strides.row;
          const float *some_gradients = gradient + (row + i) * a->output_gradient_strides.row;
          graft_small_product(some_queries, a->query_strides.row, 1, key_columns + start,
                              a->padded, size, scores, GRAFT_KEYS, some, width, 0, tall, wide);
          graft_small_product(some_gradients, a->output_gradient_strides.row, 1,
                              value_columns + start, a->padded, size, inner, GRAFT_KEYS, some,
                              width, 0, tall, wide);
          for (int64_t j = 0; j < some; ++j) {
            graft_mask_scores(a, batch, row + i + j, start, width, scores + j * GRAFT_KEYS);
            pull_back_scores(scores + j * GRAFT_KEYS, inner + j * GRAFT_KEYS, width,
                             a->log_sums[unit * a->length + row + i + j], means[i + j], a->scale);
          }
          graft_small_product(scores, 1, GRAFT_KEYS, some_gradients,
                              a->output_gradient_strides.row, some, value_gradient + start * size,
                              size, count, size, 1, tall, wide);
          graft_small_product(inner, 1, GRAFT_KEYS, some_queries, a->query_strides.row, some,
                              key_gradient + start * size, size, count, size, 1, tall, wide);
          graft_small_product(inner, GRAFT_KEYS, 1, key + start * a->key_strides.row,
                              a->key_strides.row, count,
                              query_gradient + (row + i) * a->query_gradient_strides.row,
                              a->query_gradient_strides.row, some, size, 1, tall, wide);
        }
      }
    }
  }
}

GRAFT_TILED_VARIANTS(graft_attention_backward, backward_body,
                     (const graft_attention *a, int64_t first, int64_t end), (a, first, end))
