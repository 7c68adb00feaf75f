// Attention of bfloat16 numbers, backward.
#include "BFloat16AttentionBlock.h"

#ifdef GRAFT_X86
// Of rounded numbers and others.
TARGET_BF16 static inline float dot(const uint32_t *rounded, const float *y, int64_t count) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    __m512i halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(rounded + i / 2)));
    __m512 x = _mm512_castsi512_ps(_mm512_slli_epi32(halves, 16));
    sum = _mm512_fmadd_ps(x, _mm512_loadu_ps(y + i), sum);
  }
  return _mm512_reduce_add_ps(sum);
}

// What scores of some rows become: rounded shares in pairs of rows, and the scores' gradient from that of
// the shares, rounded, by rows and in pairs of them.
typedef struct {
  uint32_t share_pairs[QUERIES / 2 * KEYS], inner_rows[QUERIES * KEYS / 2],
      inner_pairs[QUERIES / 2 * KEYS];
} block_pairs;

// Rows `i` and `i` + 1 of those that are done; the second one may not exist, and sees nothing then.
TARGET_BF16 static inline void pull_back_scores(const graft_attention *a, const float *scores,
                                                const float *inner, const uint64_t seen[2],
                                                int64_t i, int64_t vectors, const float *means,
                                                const float *log_sums, block_pairs *made) {
  const __m512 scale = _mm512_set1_ps(a->scale);
  const __m512 binary = _mm512_set1_ps(a->scale * graft_log2_e);
  for (int64_t n = 0; n < vectors; ++n) {
    __m512 shares[2], gradients[2];
    for (int r = 0; r < 2; ++r) {
      const int64_t place = (i + r) * KEYS + 16 * n;
      __m512 power = _mm512_fmsub_ps(_mm512_loadu_ps(scores + place), binary,
                                     _mm512_set1_ps(log_sums[i + r] * graft_log2_e));
      shares[r] =
          _mm512_maskz_mov_ps((__mmask16)(seen[r] >> 16 * n), graft_power_of_two(power));
      __m512 apart = _mm512_sub_ps(_mm512_loadu_ps(inner + place), _mm512_set1_ps(means[i + r]));
      gradients[r] = _mm512_maskz_mul_ps((__mmask16)(seen[r] >> 16 * n), shares[r],
                                         _mm512_mul_ps(apart, scale));
      _mm256_storeu_si256((__m256i *)(made->inner_rows + place / 2),
                          (__m256i)_mm512_cvtneps_pbh(gradients[r]));
    }
    const int64_t place = i / 2 * KEYS + 16 * n;
    _mm512_store_si512(made->share_pairs + place, graft_paired(shares[0], shares[1]));
    _mm512_store_si512(made->inner_pairs + place, graft_paired(gradients[0], gradients[1]));
  }
}

TARGET_BF16 static void backward(const graft_attention *a, graft_attention_pairs pairs,
                                 int64_t unit) {
  _Alignas(64) float scores[(QUERIES + 1) * KEYS], inner[(QUERIES + 1) * KEYS];
  _Alignas(64) uint32_t query_rows[QUERIES * SIZE / 2], query_pairs[QUERIES / 2 * SIZE],
      gradient_rows[QUERIES * SIZE / 2], gradient_pairs[QUERIES / 2 * SIZE];
  _Alignas(64) block_pairs made;
  float means[QUERIES + 1] = {0}, log_sums[QUERIES + 1] = {0};
  const int64_t size = a->size, half = size / 2;
  const int64_t head = unit % a->heads, batch = unit / a->heads;
  const int64_t pair = batch * a->groups + head / (a->heads / a->groups);
#define ROWS_OF(name) a->name + batch * a->name##_strides.batch + head * a->name##_strides.head
  const float *query = ROWS_OF(query), *output = ROWS_OF(output);
  const float *gradient = ROWS_OF(output_gradient);
  float *query_gradient = ROWS_OF(query_gradient);
#undef ROWS_OF
  const int64_t place = pair * half * a->padded;
  const uint32_t *key_columns = pairs.key_columns + place, *key_rows = pairs.key_rows + place;
  const uint32_t *value_columns = pairs.value_columns + place;
  float *key_gradient = a->key_gradient + unit * a->key_length * size;
  float *value_gradient = a->value_gradient + unit * a->key_length * size;
  memset(key_gradient, 0, (size_t)(a->key_length * size) * sizeof(float));
  memset(value_gradient, 0, (size_t)(a->key_length * size) * sizeof(float));
  for (int64_t row = 0; row < a->length; row += QUERIES) {
    const int64_t rows = a->length - row < QUERIES ? a->length - row : QUERIES;
    const float *queries = query + row * a->query_strides.row;
    const float *gradients = gradient + row * a->output_gradient_strides.row;
    graft_round_rows(queries, a->query_strides.row, rows, size, query_rows);
    graft_pair_rows(queries, a->query_strides.row, rows, size, query_pairs);
    graft_round_rows(gradients, a->output_gradient_strides.row, rows, size, gradient_rows);
    graft_pair_rows(gradients, a->output_gradient_strides.row, rows, size, gradient_pairs);
    for (int64_t i = 0; i < rows; ++i) {
      // Of the same rounded numbers as the shares' gradients, which lie near it where a key has nearly
      // all of a row: their difference would be rounding alone.
      means[i] = dot(gradient_rows + i * half, output + (row + i) * a->output_strides.row, size);
      log_sums[i] = a->log_sums[unit * a->length + row + i];
      memset(query_gradient + (row + i) * a->query_gradient_strides.row, 0,
             (size_t)size * sizeof(float));
    }
    for (int64_t start = 0; start < a->key_length; start += KEYS) {
      if (graft_seen_keys(a, row + rows, start) <= 0) break;
      const int64_t joint = graft_joint_rows(a, row, rows, start, STEP);
      for (int64_t i = 0; i < rows; i += joint) {
        const int64_t some = rows - i < joint ? rows - i : joint;
        const int64_t count = graft_seen_keys(a, row + i + some, start);
        if (count <= 0) continue;
        const int64_t vectors = (count + 15) / 16;
        graft_pair_product((graft_pairs){query_rows + i * half, half, 1}, key_columns + start,
                           a->padded, half, scores, KEYS, some, 16 * vectors, 0);
        graft_pair_product((graft_pairs){gradient_rows + i * half, half, 1},
                           value_columns + start, a->padded, half, inner, KEYS, some,
                           16 * vectors, 0);
        for (int64_t j = 0; j < some; j += 2) {
          const uint64_t seen[2] = {
              graft_seen(a, batch, row + i + j, start),
              j + 1 < some ? graft_seen(a, batch, row + i + j + 1, start) : 0};
          pull_back_scores(a, scores, inner, seen, j, vectors, means + i, log_sums + i, &made);
        }
        graft_pair_product((graft_pairs){made.share_pairs, 1, KEYS}, gradient_pairs + i * half,
                           size, (some + 1) / 2, value_gradient + start * size, size, count, size,
                           1);
        graft_pair_product((graft_pairs){made.inner_pairs, 1, KEYS}, query_pairs + i * half, size,
                           (some + 1) / 2, key_gradient + start * size, size, count, size, 1);
        graft_pair_product((graft_pairs){made.inner_rows, KEYS / 2, 1},
                           key_rows + start / 2 * size, size, (count + 1) / 2,
                           query_gradient + (row + i) * a->query_gradient_strides.row,
                           a->query_gradient_strides.row, some, size, 1);
      }
    }
  }
}
#endif

void graft_bfloat16_attention_backward(const graft_attention *a, graft_attention_pairs pairs,
                                       int64_t first, int64_t end) {
#ifdef GRAFT_X86
  for (int64_t unit = first; unit < end; ++unit) backward(a, pairs, unit);
#else
  (void)a, (void)pairs, (void)first, (void)end;
#endif
}
