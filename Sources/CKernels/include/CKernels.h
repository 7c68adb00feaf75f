// SIMD kernels for what LibTorch lacks. Plain C: no Torch, no threads, no allocation.
//
// A kernel takes a range of blocks or rows, so that the caller can split the work over the threads it
// has. Each exists in scalar C, and where it was written out also for AVX2 and AVX-512, all with the
// same results to the last bit unless it says otherwise; the best one that the processor has is taken at run time.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "NarrowTerm.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Instruction sets ------------------------------------------------------------------------

enum { GRAFT_SCALAR = 0, GRAFT_AVX2 = 1, GRAFT_AVX512 = 2 };

// The best one that this processor has.
int32_t graft_best_instruction_set(void);
// The one that kernels use: the best one unless it was set.
int32_t graft_instruction_set(void);
// Makes kernels use a lesser one, to compare them. More than the best is taken as the best.
void graft_set_instruction_set(int32_t set);
// What a thread does that waits for another in a loop, so that the processor lets others go first.
void graft_pause(void);
// Whether this processor multiplies bfloat16 numbers.
bool graft_has_bfloat16_product(void);

// ---- Element types of inputs and outputs -----------------------------------------------------

enum { GRAFT_FLOAT32 = 0, GRAFT_FLOAT16 = 1, GRAFT_BFLOAT16 = 2 };

// ---- Blockwise codes of 8 bits ---------------------------------------------------------------

// Cells of the direct search for each sign: the upper 16 bits of floats from 2^-23 to 1.
enum { GRAFT_FIRST_CELL = 104 << 7, GRAFT_LAST_CELL = 127 << 7,
       GRAFT_CELL_COUNT = GRAFT_LAST_CELL - GRAFT_FIRST_CELL + 1 };

// Stretches of magnitudes in which the borders between codes are equally distant, and powers of two
// from 2^-23 to 1 that each touch at most two of them.
enum { GRAFT_SEGMENT_COUNT = 16, GRAFT_SEGMENT_POWERS = 32 };

// A table of 256 ascending numbers, prepared for finding the nearest one.
//
// A number x in [-1, 1] gets code i when it lies above the midpoint of numbers i - 1 and i and not
// above that of i and i + 1: a number exactly between two goes to the lower code.
typedef struct {
  float code[256];
  float threshold[255];  // Largest float that is not above the exact midpoint of i and i + 1.
  uint8_t zero;          // The code of 0.
  bool direct;           // Whether every cell holds at most one threshold, so that `cell` is used.
  // Bits 0 to 15: what the lower half of x's bits must exceed to cross the threshold; bits 16 to 23:
  // the code below it (in magnitude). Crossing adds one for positive and subtracts one for negative x.
  uint32_t cell[2 * GRAFT_CELL_COUNT];
  bool segmented;  // Whether the following is used: positive and negative numbers mirror each other.
  float border[GRAFT_SEGMENT_POWERS];     // Where the next segment begins within a power, or infinity.
  int32_t segment[GRAFT_SEGMENT_POWERS];  // The segment up to there.
  // A magnitude x of a segment is floor(min(slope x + offset, top)) codes from zero's, but near a
  // whole number this is not exact.
  float slope[GRAFT_SEGMENT_COUNT], offset[GRAFT_SEGMENT_COUNT], top[GRAFT_SEGMENT_COUNT];
} graft_code_search;

void graft_make_code_search(const float *_Nonnull code, graft_code_search *_Nonnull search);

// Blocks first..<end of a vector of `count` numbers: absmax[b] = max |x|, codes[i] = the code nearest
// to x[i] * (1 / absmax) in float32. The last block may be short.
//
// A block of zeros gets absmax 0 and zero's code. A block with NaN gets absmax NaN and zero's code
// throughout; one with infinities gets absmax infinity, the last or first code for them, zero's for
// the rest.
void graft_quantize_blockwise(const graft_code_search *_Nonnull search, const void *_Nonnull x,
                              int32_t type, int64_t count, int64_t block_size, int64_t first,
                              int64_t end, uint8_t *_Nonnull codes, float *_Nonnull absmax);

// y[i] = code[codes[i]] * absmax[block of i], in float32, rounded once to the type.
void graft_dequantize_blockwise(const float *_Nonnull code, const uint8_t *_Nonnull codes,
                                const float *_Nonnull absmax, int64_t count, int64_t block_size,
                                int64_t first, int64_t end, int32_t type, void *_Nonnull y);

// ---- Blockwise codes of 4 bits ---------------------------------------------------------------

enum { GRAFT_NF4 = 0, GRAFT_FP4 = 1 };

// The 16 numbers of a type by code.
const float *_Nonnull graft_code_4bit(int32_t kind);

// As above with codes of 4 bits; two of them are a byte, the first in the upper half. The block size
// is even. Of an odd count the last lower half is zero's code.
//
// NF4: a number exactly between two goes to the lower code. FP4: to the smaller magnitude, and the
// sign bit is set exactly for x < 0.
void graft_quantize_4bit(int32_t kind, const void *_Nonnull x, int32_t type, int64_t count,
                         int64_t block_size, int64_t first, int64_t end, uint8_t *_Nonnull bytes,
                         float *_Nonnull absmax);
void graft_dequantize_4bit(int32_t kind, const uint8_t *_Nonnull bytes,
                           const float *_Nonnull absmax, int64_t count, int64_t block_size,
                           int64_t first, int64_t end, int32_t type, void *_Nonnull y);

// Rows first..<end of a matrix in codes of 4 bits, as rows of 8-bit whole numbers (see below): scale[r]
// is the largest magnitude of the row's blocks, codes are code * (absmax * (127 * (1 / scale))) rounded
// to nearest, ties to even. A row is whole blocks of a multiple of 32.
void graft_recode_4bit_rows(int32_t kind, const uint8_t *_Nonnull bytes,
                            const float *_Nonnull absmax, int64_t columns, int64_t block_size,
                            int64_t first, int64_t end, int8_t *_Nonnull codes,
                            float *_Nonnull scale);

// ---- Rows of 8-bit whole numbers -------------------------------------------------------------

// Rows first..<end of a matrix: scale[r] = max |x|, codes = x * (127 * (1 / scale)) rounded to nearest,
// ties to even, in -127 ... 127. With a threshold above 0, numbers with |x| >= threshold are outliers:
// they do not count for the scale, get code 0, and set outlier[column] to 1 (never back to 0; several
// calls may share it). Where the scale is 0, infinite or NaN all codes of the row are 0. With `factor`
// [columns], x * factor[column] in float32 stands for x.
void graft_quantize_rows(const void *_Nonnull x, int32_t type, const float *_Nullable factor,
                         int64_t columns, float threshold, int64_t first, int64_t end,
                         int8_t *_Nonnull codes, float *_Nonnull scale,
                         uint8_t *_Nullable outlier);

// y = code * scale[row] * (1 / 127) in float32, rounded once to the type.
void graft_dequantize_rows(const int8_t *_Nonnull codes, const float *_Nonnull scale,
                           int64_t columns, int64_t first, int64_t end, int32_t type,
                           void *_Nonnull y);

// Rows first..<end: gathers x's numbers of some columns, [rows, count] in float32, and sets the
// columns' codes to 0.
void graft_take_columns(const void *_Nonnull x, int32_t type, int64_t columns,
                        const int64_t *_Nonnull chosen, int64_t count, int64_t first, int64_t end,
                        int8_t *_Nonnull codes, float *_Nonnull taken);

// The columns of a matrix, as rows are done above: scale[c] = max |x| over all rows, codes by it. The
// scales of columns first..<end, then the codes of rows first..<end.
void graft_column_scales(const void *_Nonnull x, int32_t type, int64_t rows, int64_t columns,
                         float threshold, int64_t first, int64_t end, float *_Nonnull scale);
void graft_quantize_columns(const void *_Nonnull x, int32_t type, int64_t columns, float threshold,
                            const float *_Nonnull scale, int64_t first, int64_t end,
                            int8_t *_Nonnull codes);

// codes = x * (127 / scale[row]) rounded up with the probability of the fraction and else down, so
// that the mean is x. Row r's random numbers depend on seed and r alone.
void graft_quantize_rows_stochastic(const float *_Nonnull x, int64_t columns, uint64_t seed,
                                    int64_t first, int64_t end, int8_t *_Nonnull codes,
                                    float *_Nonnull scale);

// ---- Products with quantised weights ---------------------------------------------------------

// y[m, n] = sum_k x[m, k] w[n, k] * (x_scale[m] / 127) (w_scale[n] / 127) + bias[n]
//           + sum_c outlier[m, c] w[n, column[c]] w_scale[n] / 127
//           + term[m, n] + y[m, n] where it `adds`.
// The first sum is exact in int32 (depth up to 133,144); the rest is float32 in this order.
typedef struct {
  const int8_t *_Nonnull x;           // [rows, depth]
  const float *_Nonnull x_scale;      // [rows]
  const int8_t *_Nonnull weight;      // [outputs, depth], or [depth, outputs] when transposed
  const float *_Nullable weight_scale;  // [outputs]; NULL for 127 throughout
  const float *_Nullable bias;        // [outputs]
  const float *_Nullable outlier;     // [rows, outlier_count]
  const int64_t *_Nullable outlier_column;
  graft_narrow_term term;
  int64_t outlier_count, rows, outputs, depth;
  int64_t row_parts;                  // How many parts the rows of a panel of outputs are split into.
  const int32_t *_Nullable x_sums;    // [rows], by graft_int8_row_sums; NULL to do without dot products.
  bool transposed, adds;
  float *_Nonnull y;                  // [rows, outputs]
} graft_int8_product;

// Whether the processor has dot products of bytes (VNNI) and they may be used: x_sums may be given then.
bool graft_has_int8_dot(void);

// 128 times the sum of each row of x, for rows first..<end.
void graft_int8_row_sums(const int8_t *_Nonnull x, int64_t depth, int64_t first, int64_t end,
                         int32_t *_Nonnull sums);

// Parts that the work is split into, and the bytes that one caller needs to do some of them. `next` is
// the part that the caller does afterwards, whose weight is fetched meanwhile; their count for none.
int64_t graft_int8_parts(const graft_int8_product *_Nonnull product);
int64_t graft_int8_workspace(const graft_int8_product *_Nonnull product);
void graft_int8_multiply(const graft_int8_product *_Nonnull product, int64_t first, int64_t end,
                         int64_t next, void *_Nonnull workspace);

// The same for few rows, of a weight that is not transposed: outputs first..<end, with the weight read
// as it lies.
int64_t graft_int8_few_rows_workspace(const graft_int8_product *_Nonnull product);
void graft_int8_multiply_few_rows(const graft_int8_product *_Nonnull product, int64_t first,
                                  int64_t end, void *_Nonnull workspace);

// The magnitudes of blocks: numbers, or codes of numbers less their mean.
typedef struct {
  const float *_Nullable absmax;      // [blocks]; NULL when they are quantised:
  const uint8_t *_Nullable codes;     // [blocks]
  const float *_Nullable code;        // [256]
  const float *_Nullable nested;      // [ceil(blocks / nested_size)]
  int64_t nested_size;
  float offset;
} graft_block_magnitudes;

// y[m, n] = sum_k x[m, k] w[n, k] + bias[n] for few rows, outputs first..<end; w in codes of 4 bits over
// the flattened matrix. float32; the order of the sum differs between instruction sets. x is what
// graft_split_pairs made of its rows, rows * (depth + 64) floats.
typedef struct {
  int32_t kind;
  const uint8_t *_Nonnull bytes;
  graft_block_magnitudes magnitudes;
  int64_t block_size, rows, outputs, depth;
  const float *_Nullable bias;
  float *_Nonnull y;                  // [rows, outputs]
} graft_4bit_product;

void graft_split_pairs(const float *_Nonnull x, int64_t rows, int64_t depth,
                       float *_Nonnull workspace);
void graft_4bit_multiply(const graft_4bit_product *_Nonnull product,
                         const float *_Nonnull workspace, int64_t first, int64_t end);

#ifdef __cplusplus
}
#endif

#include "AttentionKernels.h"
#include "BFloat16AttentionKernels.h"
#include "BFloat16Kernels.h"
#include "Float32Kernels.h"
#include "DecodingKernels.h"
#include "LayerKernels.h"
#include "Optimizers.h"
#include "RowPassKernels.h"

#endif
