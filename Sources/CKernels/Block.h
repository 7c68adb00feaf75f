// What blockwise quantisers share: the largest magnitude of a block and its scale.
#ifndef GRAFT_BLOCK_H
#define GRAFT_BLOCK_H

#include <stdint.h>

// Numbers that are converted at a time; the buffer lives on the stack.
enum { GRAFT_CHUNK = 1024 };

// How near to a whole number the place in a segment must not be: far more than what rounding does.
#define GRAFT_SEGMENT_MARGIN 0x1p-10f

// How the numbers of a block become numbers in [-1, 1].
typedef struct {
  float absmax;
  // 1 / absmax where that is a usable factor, else 0: then `graft_normalize` decides one by one.
  float factor;
} graft_block_scale;

graft_block_scale graft_find_scale(const void *x, int32_t type, int64_t start, int64_t count);

// 127 * (1 / scale) in float32, or 0 where that is no usable factor: int8 codes are then all 0.
float graft_int8_factor(float scale);

// Writes x in [-1, 1]: x * factor, or what stands for it in a block of zeros, of numbers too small
// for a factor, with infinities or with NaN.
void graft_normalize(graft_block_scale scale, const float *x, int64_t count, float *result);

// Codes of `count` numbers of one block, which begin at `position` of the vector.
typedef void (*graft_encoder)(const void *table, graft_block_scale scale, const float *x,
                              int64_t count, int64_t position, uint8_t *codes);
typedef void (*graft_decoder)(const float *code, const uint8_t *codes, int64_t position,
                              float absmax, int64_t count, float *y);

// Goes through blocks first ..< end in chunks that fit the stack.
void graft_encode_blocks(graft_encoder encode, const void *table, const void *x, int32_t type,
                         int64_t count, int64_t block_size, int64_t first, int64_t end,
                         uint8_t *codes, float *absmax);
void graft_decode_blocks(graft_decoder decode, const float *code, const uint8_t *codes,
                         const float *absmax, int64_t count, int64_t block_size, int64_t first,
                         int64_t end, int32_t type, void *y);

#endif
