// Attention of bfloat16 numbers, forward, and the pairs that both passes read.
#include "BFloat16AttentionBlock.h"
#include "TransposeWords.h"

enum { ROWS = 2 * QUERIES };

int64_t graft_bfloat16_attention_chunk(void) { return ROWS; }

#ifdef GRAFT_X86
// Pairs of numbers of a position, positions side by side.
TARGET_BF16 static void pack_columns(const graft_attention *a, const float *x, int64_t row,
                                     uint32_t *columns) {
  for (int64_t start = 0; start < a->padded; start += 16) {
    for (int64_t d = 0; d < a->size; d += 32) {
      __m512i words[16];
      const bool whole = d + 32 <= a->size;
      for (int i = 0; i < 16; ++i) {
        const bool exists = start + i < a->key_length;
        const float *from = x + (start + i) * row + d;
        __m512 low = exists ? _mm512_loadu_ps(from) : _mm512_setzero_ps();
        __m512 high = exists && whole ? _mm512_loadu_ps(from + 16) : _mm512_setzero_ps();
        words[i] = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      }
      graft_transpose_words(words);
      for (int i = 0; i < (whole ? 16 : 8); ++i) {
        _mm512_storeu_si512(columns + (d / 2 + i) * a->padded + start, words[i]);
      }
    }
  }
}

// Pairs of positions.
TARGET_BF16 static void pack_rows(const graft_attention *a, const float *x, int64_t row,
                                  uint32_t *pairs) {
  graft_pair_rows(x, row, a->key_length, a->size, pairs);
  const int64_t made = (a->key_length + 1) / 2, all = a->padded / 2;
  memset(pairs + made * a->size, 0, (size_t)((all - made) * a->size) * sizeof(uint32_t));
}

// A row's scores with some keys become shares, rounded; its outputs and sums so far are scaled to the new
// largest score.
TARGET_BF16 static inline void take_scores(const float *scores, uint64_t seen, int64_t vectors,
                                           float scale, uint32_t *shares, float *top, float *sums,
                                           float *output, int64_t size) {
  __m512 values[4], highest = _mm512_set1_ps(-INFINITY);
  for (int64_t n = 0; n < vectors; ++n) {
    values[n] = _mm512_mul_ps(_mm512_loadu_ps(scores + 16 * n), _mm512_set1_ps(scale));
    highest = _mm512_mask_max_ps(highest, (__mmask16)(seen >> 16 * n), highest, values[n]);
  }
  const float largest = seen ? _mm512_reduce_max_ps(highest) : -INFINITY;
  __m512 sum = _mm512_loadu_ps(sums);
  if (largest > *top) {
    __m512 factor = *top == -INFINITY ? _mm512_setzero_ps()
                                      : graft_power_of_two(_mm512_set1_ps(*top - largest));
    for (int64_t d = 0; d < size; d += 16) {
      _mm512_storeu_ps(output + d, _mm512_mul_ps(_mm512_loadu_ps(output + d), factor));
    }
    sum = _mm512_mul_ps(sum, factor);
    *top = largest;
  }
  const __m512 origin = _mm512_set1_ps(*top);
  for (int64_t n = 0; n < vectors; ++n) {
    __m512 share = _mm512_maskz_mov_ps((__mmask16)(seen >> 16 * n),
                                       graft_power_of_two(_mm512_sub_ps(values[n], origin)));
    sum = _mm512_add_ps(sum, share);
    _mm256_storeu_si256((__m256i *)(shares + 8 * n), (__m256i)_mm512_cvtneps_pbh(share));
  }
  _mm512_storeu_ps(sums, sum);
}

TARGET_BF16 static void forward(const graft_attention *a, graft_attention_pairs pairs, int64_t unit) {
  _Alignas(64) float scores[QUERIES * KEYS], mixed[ROWS * SIZE], sums[ROWS * 16];
  _Alignas(64) uint32_t queries[ROWS * SIZE / 2], shares[QUERIES * KEYS / 2];
  float tops[ROWS];
  const int64_t chunks = (a->length + ROWS - 1) / ROWS, size = a->size;
  const int64_t head = unit / chunks % a->heads, batch = unit / chunks / a->heads;
  const int64_t pair = batch * a->groups + head / (a->heads / a->groups);
  const int64_t begin = unit % chunks * ROWS;
  const int64_t stop = begin + ROWS < a->length ? begin + ROWS : a->length;
  const uint32_t *columns = pairs.key_columns + pair * size / 2 * a->padded;
  const uint32_t *values = pairs.value_rows + pair * size / 2 * a->padded;
  const float scale = a->scale * graft_log2_e;
  graft_round_rows(a->query + batch * a->query_strides.batch + head * a->query_strides.head +
                       begin * a->query_strides.row,
                   a->query_strides.row, stop - begin, size, queries);
  for (int64_t i = 0; i < stop - begin; ++i) tops[i] = -INFINITY;
  memset(sums, 0, sizeof sums);
  memset(mixed, 0, (size_t)((stop - begin) * size) * sizeof(float));
  for (int64_t start = 0; start < a->key_length; start += KEYS) {
    if (graft_seen_keys(a, stop, start) <= 0) break;
    for (int64_t row = begin, rows; row < stop; row += rows) {
      rows = stop - row < QUERIES ? stop - row : QUERIES;
      rows = graft_joint_rows(a, row, rows, start, STEP);
      const int64_t count = graft_seen_keys(a, row + rows, start), own = row - begin;
      if (count <= 0) continue;
      const int64_t vectors = (count + 15) / 16;
      graft_pair_product((graft_pairs){queries + own * size / 2, size / 2, 1}, columns + start,
                         a->padded, size / 2, scores, KEYS, rows, 16 * vectors, 0);
      for (int64_t i = 0; i < rows; ++i) {
        take_scores(scores + i * KEYS, graft_seen(a, batch, row + i, start), vectors, scale,
                    shares + i * KEYS / 2, tops + own + i, sums + (own + i) * 16,
                    mixed + (own + i) * size, size);
      }
      graft_pair_product((graft_pairs){shares, KEYS / 2, 1}, values + start / 2 * size, size,
                         (count + 1) / 2, mixed + own * size, size, rows, size, 1);
    }
  }
  for (int64_t row = begin; row < stop; ++row) {
    const int64_t own = row - begin;
    const float sum = graft_sum_lanes(sums + own * 16), factor = sum > 0 ? 1 / sum : 0;
    float *to = a->output + batch * a->output_strides.batch + head * a->output_strides.head +
                row * a->output_strides.row;
    for (int64_t d = 0; d < size; d += 16) {
      __m512 some = _mm512_loadu_ps(mixed + own * size + d);
      _mm512_storeu_ps(to + d, _mm512_mul_ps(some, _mm512_set1_ps(factor)));
    }
    a->log_sums[(batch * a->heads + head) * a->length + row] =
        sum > 0 ? tops[own] / graft_log2_e + logf(sum) : -INFINITY;
  }
}
#endif

void graft_bfloat16_attention_pack(const graft_attention *a, graft_attention_pairs pairs,
                                   int64_t first, int64_t end) {
#ifdef GRAFT_X86
  for (int64_t pair = first; pair < end; ++pair) {
    const int64_t batch = pair / a->groups, group = pair % a->groups;
    const int64_t place = pair * a->size / 2 * a->padded;
    const graft_attention_strides k = a->key_strides, v = a->value_strides;
    const float *key = a->key + batch * k.batch + group * k.head;
    const float *value = a->value + batch * v.batch + group * v.head;
    if (pairs.key_columns) pack_columns(a, key, k.row, pairs.key_columns + place);
    if (pairs.key_rows) pack_rows(a, key, k.row, pairs.key_rows + place);
    if (pairs.value_columns) pack_columns(a, value, v.row, pairs.value_columns + place);
    if (pairs.value_rows) pack_rows(a, value, v.row, pairs.value_rows + place);
  }
#else
  (void)a, (void)pairs, (void)first, (void)end;
#endif
}

void graft_bfloat16_attention_forward(const graft_attention *a, graft_attention_pairs pairs,
                                      int64_t first, int64_t end) {
#ifdef GRAFT_X86
  for (int64_t unit = first; unit < end; ++unit) forward(a, pairs, unit);
#else
  (void)a, (void)pairs, (void)first, (void)end;
#endif
}
