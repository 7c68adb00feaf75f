// Whole layers of a transformer's block in one pass over memory, float32, forward and backward.
//
// Each is the same loop for every instruction set, with the same bits as result. They take a range of
// rows or elements, so that the caller can split the work over its threads.
#ifndef GRAFT_LAYER_KERNELS_H
#define GRAFT_LAYER_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// y = e^x for elements first..<end, within 2 units in the last place in [-87, 88]; others are taken
// as the nearest number in there.
void graft_exponential(const float *_Nonnull x, int64_t first, int64_t end, float *_Nonnull y);

// y = gate * sigmoid(gate) * up for elements first..<end. y may be gate or up.
void graft_swiglu(const float *_Nonnull gate, const float *_Nonnull up, int64_t first, int64_t end,
                  float *_Nonnull y);

// The same, and gate and up rounded to bfloat16.
void graft_swiglu_rounding(const float *_Nonnull gate, const float *_Nonnull up, int64_t first,
                           int64_t end, float *_Nonnull y, uint16_t *_Nonnull gate_rounded,
                           uint16_t *_Nonnull up_rounded);

// The derivatives, from `gradient`, that of y. Results may be any of the inputs.
void graft_swiglu_backward(const float *_Nonnull gate, const float *_Nonnull up,
                           const float *_Nonnull gradient, int64_t first, int64_t end,
                           float *_Nonnull gate_gradient, float *_Nonnull up_gradient);

// Both of gate and up in bfloat16, as graft_swiglu_rounding leaves them.
void graft_swiglu_of_rounded(const uint16_t *_Nonnull gate, const uint16_t *_Nonnull up,
                             int64_t first, int64_t end, float *_Nonnull y);
void graft_swiglu_backward_of_rounded(const uint16_t *_Nonnull gate, const uint16_t *_Nonnull up,
                                      const float *_Nonnull gradient, int64_t first, int64_t end,
                                      float *_Nonnull gate_gradient, float *_Nonnull up_gradient);

// Rows first..<end of [rows, size]: scale[r] = 1 / sqrt(mean(x^2) + epsilon), y = x * scale[r] * weight.
void graft_rms_norm(const float *_Nonnull x, const float *_Nonnull weight, float epsilon,
                    int64_t size, int64_t first, int64_t end, float *_Nonnull y,
                    float *_Nonnull scale);

// y = x * scale[r] * weight, with scales that are known.
void graft_rms_norm_again(const float *_Nonnull x, const float *_Nonnull weight,
                          const float *_Nonnull scale, int64_t size, int64_t first, int64_t end,
                          float *_Nonnull y);

// x's gradient from y's: with n = x * scale and h = gradient * weight, scale * (h - n * mean(h n)),
// plus `addend`, where there is one. It may be written over `gradient`.
void graft_rms_norm_backward(const float *_Nonnull x, const float *_Nonnull weight,
                             const float *_Nonnull scale, const float *_Nonnull gradient,
                             const float *_Nullable addend, int64_t size, int64_t first,
                             int64_t end, float *_Nonnull x_gradient);

// Rotary embedding of [rows, heads, size], rows first..<end: dimension i < width / 2 is turned with
// i + width / 2 by row r's angles; others stay. cosine and sine: [period, width], row r at r % period,
// both halves equal. `direction` 1, or -1 to turn back. y may be x.
void graft_rotate(const float *_Nonnull x, const float *_Nonnull cosine, const float *_Nonnull sine,
                  float direction, int64_t heads, int64_t size, int64_t width, int64_t period,
                  int64_t first, int64_t end, float *_Nonnull y);

// Rows first..<end of scores [rows, size], those of words start ..< start + size: takes them into the
// row's largest score `top` (minus infinity at first), the sum of e^(z - top) and, where the label is
// among them, its score `answer`. e^(z - top) goes to `shares`, which may be the scores themselves, or
// rounded to bfloat16 to `short_shares`; where both are NULL it is only summed. What was summed up to
// here with another top is to be multiplied by factor[r].
void graft_cross_entropy_block(const float *_Nonnull scores, const int64_t *_Nonnull label,
                               int64_t start, int64_t size, float *_Nullable shares,
                               uint16_t *_Nullable short_shares, int64_t first, int64_t end,
                               float *_Nonnull top, double *_Nonnull sum, float *_Nonnull answer,
                               float *_Nonnull factor);

// Rows first..<end of shares [rows, size], numbers of 1e-38 or more: those of at least `least` times the
// row's sum are large. Bit j of large[r, g], [rows, ceil(size / 16)], says whether word 16 g + j is one.
// The others go to `rest` in bfloat16, to nearest, ties to even; large ones are 0 there. NaN is not large.
void graft_split_shares(const float *_Nonnull shares, const double *_Nonnull sum, double least,
                        int64_t size, int64_t first, int64_t end, uint16_t *_Nonnull rest,
                        uint16_t *_Nonnull large);

// sum[r] = row_scale[r] sum[r] + sum over v of shares[r, v] weight[v] for rows first..<end of [rows, depth],
// over the words v that are large, in their order; weight: [size, depth]. A row_scale of NULL is 1.
void graft_add_large_shares(const float *_Nonnull shares, const uint16_t *_Nonnull large,
                            int64_t size, const float *_Nonnull weight, int64_t depth,
                            const float *_Nullable row_scale, int64_t first, int64_t end,
                            float *_Nonnull sum);

// As graft_split_shares, but the rest becomes whole numbers of 8 bits: with x = share factor[word] of the
// words that are not large, and 0 for the others, scale[r] = max x / 254, codes = x / scale rounded to
// nearest, ties to even, less 127. offset[r] = scale / 127 (127 + the mean over all words of what rounding
// took), the factor of the words' summed codes in a product; code_sums[r] is 128 times the codes' sum.
// A row whose sum is no number gets NaN as scale and offset. factor: [size], 0 or more.
void graft_quantize_shares(const float *_Nonnull shares, const double *_Nonnull sum, double least,
                           const float *_Nonnull factor, int64_t size, int64_t first, int64_t end,
                           uint16_t *_Nonnull large, int8_t *_Nonnull codes,
                           float *_Nonnull scale, float *_Nonnull offset,
                           int32_t *_Nonnull code_sums);

// sums[c] = the sum of column c of codes [rows, columns], for columns first..<end.
void graft_code_column_sums(const int8_t *_Nonnull codes, int64_t rows, int64_t columns,
                            int64_t first, int64_t end, float *_Nonnull sums);

// loss[r] = log(sum(e^z)) - z[label[r]] of rows first..<end; factor[r] is 1 / sum, so that its product
// with e^(z - top) is the softmax.
void graft_cross_entropy_end(const float *_Nonnull top, const double *_Nonnull sum,
                             const float *_Nonnull answer, int64_t first, int64_t end,
                             float *_Nonnull loss, float *_Nonnull factor);

#ifdef __cplusplus
}
#endif

#endif
