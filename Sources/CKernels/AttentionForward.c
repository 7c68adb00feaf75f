// Attention, forward.
#include "AttentionBlock.h"
#include "VectorVariants.h"

int64_t graft_attention_chunk(void) { return GRAFT_QUERIES * GRAFT_QUERY_BLOCKS; }

GRAFT_INLINE void graft_attention_turn_body(const float *x, graft_attention_strides strides,
                                            int64_t groups, int64_t length, int64_t padded,
                                            int64_t size, int64_t first, int64_t end,
                                            float *turned) {
  for (int64_t unit = first; unit < end; ++unit) {
    const float *from = x + unit / groups * strides.batch + unit % groups * strides.head;
    float *to = turned + unit * size * padded;
    for (int64_t start = 0; start < length; start += GRAFT_WIDTH) {
      int64_t count = length - start < GRAFT_WIDTH ? length - start : GRAFT_WIDTH;
      for (int64_t d = 0; d < size; ++d) {
        for (int64_t j = 0; j < count; ++j) {
          to[d * padded + start + j] = from[(start + j) * strides.row + d];
        }
      }
    }
    for (int64_t d = 0; d < size; ++d) {
      for (int64_t j = length; j < padded; ++j) to[d * padded + j] = 0;
    }
  }
}

GRAFT_VARIANTS(graft_attention_turn,
               (const float *x, graft_attention_strides strides, int64_t groups, int64_t length,
                int64_t padded, int64_t size, int64_t first, int64_t end, float *turned),
               (x, strides, groups, length, padded, size, first, end, turned))

// The largest of GRAFT_WIDTH numbers and another.
GRAFT_INLINE float largest_of(float *lanes, float other) {
  for (int width = GRAFT_WIDTH / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      lanes[i] = lanes[i + width] > lanes[i] ? lanes[i + width] : lanes[i];
    }
  }
  return lanes[0] > other ? lanes[0] : other;
}

// Turns `width` scores of a row into shares of e^score, with the largest score and the sum so far; the
// row's outputs so far are scaled to the new largest.
GRAFT_INLINE void take_scores(float *scores, int64_t width, float *top, float *sum, float *output,
                              int64_t size) {
  float lanes[GRAFT_WIDTH];
  for (int j = 0; j < GRAFT_WIDTH; ++j) lanes[j] = scores[j];
  for (int64_t i = GRAFT_WIDTH; i < width; i += GRAFT_WIDTH) {
    for (int j = 0; j < GRAFT_WIDTH; ++j) {
      lanes[j] = scores[i + j] > lanes[j] ? scores[i + j] : lanes[j];
    }
  }
  float largest = largest_of(lanes, *top);
  if (largest == -INFINITY) {
    for (int64_t j = 0; j < width; ++j) scores[j] = 0;
    return;
  }
  if (largest > *top) {
    float factor = graft_share(*top, largest);
    for (int64_t d = 0; d < size; ++d) output[d] *= factor;
    *sum *= factor;
    *top = largest;
  }
  for (int j = 0; j < GRAFT_WIDTH; ++j) lanes[j] = 0;
  for (int64_t i = 0; i < width; i += GRAFT_WIDTH) {
    float shares[GRAFT_WIDTH];
    for (int j = 0; j < GRAFT_WIDTH; ++j) shares[j] = graft_share(scores[i + j], largest);
    for (int j = 0; j < GRAFT_WIDTH; ++j) lanes[j] += shares[j];
    memcpy(scores + i, shares, sizeof shares);
  }
  *sum += graft_sum_lanes(lanes);
}

GRAFT_INLINE void forward_body(const graft_attention *a, int64_t first, int64_t end, const int tall,
                               const int wide) {
  enum { ROWS = GRAFT_QUERIES * GRAFT_QUERY_BLOCKS };
  float scores[GRAFT_QUERIES * GRAFT_KEYS], mixed[ROWS * GRAFT_HEAD_SIZE], tops[ROWS], sums[ROWS];
  int64_t chunks = (a->length + ROWS - 1) / ROWS, size = a->size;
  for (int64_t unit = first; unit < end; ++unit) {
    int64_t head = unit / chunks % a->heads, batch = unit / chunks / a->heads;
    int64_t group = head / (a->heads / a->groups), begin = unit % chunks * ROWS;
    int64_t stop = begin + ROWS < a->length ? begin + ROWS : a->length;
    const float *query = a->query + batch * a->query_strides.batch + head * a->query_strides.head;
    const float *value = a->value + batch * a->value_strides.batch + group * a->value_strides.head;
    const float *columns = a->key_columns + (batch * a->groups + group) * size * a->padded;
    for (int64_t i = 0; i < stop - begin; ++i) {
      tops[i] = -INFINITY;
      sums[i] = 0;
    }
    memset(mixed, 0, (size_t)((stop - begin) * size) * sizeof(float));
    for (int64_t start = 0; start < a->key_length; start += GRAFT_KEYS) {
      if (graft_seen_keys(a, stop, start) <= 0) break;
      for (int64_t row = begin, rows; row < stop; row += rows) {
        rows = stop - row < GRAFT_QUERIES ? stop - row : GRAFT_QUERIES;
        rows = graft_joint_rows(a, row, rows, start, 2 * tall);
        int64_t count = graft_seen_keys(a, row + rows, start);
        if (count <= 0) continue;
        int64_t width = (count + GRAFT_WIDTH - 1) / GRAFT_WIDTH * GRAFT_WIDTH;
        graft_small_product(query + row * a->query_strides.row, a->query_strides.row, 1,
                            columns + start, a->padded, size, scores, GRAFT_KEYS, rows, width, 0,
                            tall, wide);
        float *output = mixed + (row - begin) * size;
        for (int64_t i = 0; i < rows; ++i) {
          graft_mask_scores(a, batch, row + i, start, width, scores + i * GRAFT_KEYS);
          take_scores(scores + i * GRAFT_KEYS, width, tops + row - begin + i,
                      sums + row - begin + i, output + i * size, size);
        }
        graft_small_product(scores, GRAFT_KEYS, 1, value + start * a->value_strides.row,
                            a->value_strides.row, count, output, size, rows, size, 1, tall, wide);
      }
    }
    for (int64_t row = begin; row < stop; ++row) {
      float sum = sums[row - begin], factor = sum > 0 ? 1 / sum : 0;
      const float *from = mixed + (row - begin) * size;
      float *to = a->output + batch * a->output_strides.batch + head * a->output_strides.head +
                  row * a->output_strides.row;
      for (int64_t d = 0; d < size; ++d) to[d] = from[d] * factor;
      a->log_sums[(batch * a->heads + head) * a->length + row] =
          sum > 0 ? tops[row - begin] + logf(sum) : -INFINITY;
    }
  }
}

GRAFT_TILED_VARIANTS(graft_attention_forward, forward_body,
                     (const graft_attention *a, int64_t first, int64_t end), (a, first, end))
