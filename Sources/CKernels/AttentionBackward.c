// Attention, backward.
#include "AttentionBlock.h"
#include "VectorVariants.h"

// Of a row: shares from scores, in place, and the scores' gradient from the shares', in place.
GRAFT_INLINE void pull_back_scores(float *scores, float *gradient, float log_sum, float mean,
                                   float scale) {
  for (int j = 0; j < GRAFT_KEYS; ++j) {
    float share = graft_share(scores[j], log_sum);
    scores[j] = share;
    gradient[j] = share * (gradient[j] - mean) * scale;
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
      const float *some_queries = query + row * a->query_strides.row;
      const float *some_gradients = gradient + row * a->output_gradient_strides.row;
      float *target = query_gradient + row * a->query_gradient_strides.row;
      for (int64_t start = 0; start < a->key_length; start += GRAFT_KEYS) {
        int64_t count = a->key_length - start < GRAFT_KEYS ? a->key_length - start : GRAFT_KEYS;
        if (graft_block_is_hidden(a, row + rows, start)) break;
        graft_small_product(some_queries, a->query_strides.row, 1, key_columns + start, a->padded,
                            size, scores, GRAFT_KEYS, rows, GRAFT_KEYS, 0, tall, wide);
        graft_small_product(some_gradients, a->output_gradient_strides.row, 1,
                            value_columns + start, a->padded, size, inner, GRAFT_KEYS, rows,
                            GRAFT_KEYS, 0, tall, wide);
        for (int64_t i = 0; i < rows; ++i) {
          graft_mask_scores(a, batch, row + i, start, scores + i * GRAFT_KEYS);
          pull_back_scores(scores + i * GRAFT_KEYS, inner + i * GRAFT_KEYS,
                           a->log_sums[unit * a->length + row + i], means[i], a->scale);
        }
        graft_small_product(scores, 1, GRAFT_KEYS, some_gradients, a->output_gradient_strides.row,
                            rows, value_gradient + start * size, size, count, size, 1, tall, wide);
        graft_small_product(inner, 1, GRAFT_KEYS, some_queries, a->query_strides.row, rows,
                            key_gradient + start * size, size, count, size, 1, tall, wide);
        graft_small_product(inner, GRAFT_KEYS, 1, key + start * a->key_strides.row,
                            a->key_strides.row, count, target, a->query_gradient_strides.row, rows,
                            size, 1, tall, wide);
      }
    }
  }
}

GRAFT_TILED_VARIANTS(graft_attention_backward, backward_body,
                     (const graft_attention *a, int64_t first, int64_t end), (a, first, end))
