#include "Block.h"

#include <math.h>
#include <string.h>

#include "Conversion.h"
#include "InstructionSet.h"

// The largest magnitude as bits: NaN is above infinity, which is above all numbers.

static uint32_t largest_scalar(const float *x, int64_t count, uint32_t largest) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7FFFFFFF;
    if (bits > largest) largest = bits;
  }
  return largest;
}

#ifdef GRAFT_X86
TARGET_AVX2 static uint32_t largest_avx2(const float *x, int64_t count, uint32_t largest) {
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i most = _mm256_set1_epi32((int32_t)largest);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i bits = _mm256_loadu_si256((const __m256i *)(x + i));
    most = _mm256_max_epu32(most, _mm256_and_si256(bits, magnitude));
  }
  uint32_t lanes[8];
  _mm256_storeu_si256((__m256i *)lanes, most);
  for (int lane = 0; lane < 8; ++lane) {
    if (lanes[lane] > largest) largest = lanes[lane];
  }
  return largest_scalar(x + i, count - i, largest);
}

TARGET_AVX512 static uint32_t largest_avx512(const float *x, int64_t count, uint32_t largest) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i one = _mm512_set1_epi32((int32_t)largest), other = one;
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    one = _mm512_max_epu32(one, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
    other = _mm512_max_epu32(other, _mm512_and_si512(_mm512_loadu_si512(x + i + 16), magnitude));
  }
  return largest_scalar(x + i, count - i, _mm512_reduce_max_epu32(_mm512_max_epu32(one, other)));
}
#endif

static uint32_t largest_magnitude(const float *x, int64_t count, uint32_t largest) {
#ifdef GRAFT_X86
  if (graft_instruction_set() == GRAFT_AVX512) return largest_avx512(x, count, largest);
  if (graft_instruction_set() == GRAFT_AVX2) return largest_avx2(x, count, largest);
#endif
  return largest_scalar(x, count, largest);
}

graft_block_scale graft_find_scale(const void *x, int32_t type, int64_t start, int64_t count) {
  float buffer[GRAFT_CHUNK];
  uint32_t largest = 0;
  for (int64_t done = 0; done < count; done += GRAFT_CHUNK) {
    int64_t some = count - done < GRAFT_CHUNK ? count - done : GRAFT_CHUNK;
    largest = largest_magnitude(graft_load(x, type, start + done, some, buffer), some, largest);
  }
  graft_block_scale scale;
  memcpy(&scale.absmax, &largest, sizeof largest);
  float factor = 1.0f / scale.absmax;
  bool usable = scale.absmax > 0 && isfinite(scale.absmax) && isfinite(factor);
  scale.factor = usable ? factor : 0;
  return scale;
}

float graft_int8_factor(float scale) {
  float factor = 127.0f * (1.0f / scale);
  return scale > 0 && isfinite(scale) && isfinite(factor) ? factor : 0;
}

void graft_normalize(graft_block_scale scale, const float *x, int64_t count, float *result) {
  if (scale.factor != 0) {
    for (int64_t i = 0; i < count; ++i) {
      float value = x[i] * scale.factor;
      // The factor is rounded, so that the largest may come out above 1.
      result[i] = value > 1 ? 1 : value < -1 ? -1 : value;
    }
  } else if (scale.absmax > 0 && isfinite(scale.absmax)) {
    for (int64_t i = 0; i < count; ++i) result[i] = x[i] / scale.absmax;
  } else {
    bool infinite = isinf(scale.absmax);
    for (int64_t i = 0; i < count; ++i) {
      result[i] = infinite && isinf(x[i]) ? copysignf(1, x[i]) : 0;
    }
  }
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void graft_encode_blocks(graft_encoder encode, const void *table, const void *x, int32_t type,
                         int64_t count, int64_t block_size, int64_t first, int64_t end,
                         uint8_t *codes, float *absmax) {
  float buffer[GRAFT_CHUNK];
  for (int64_t block = first; block < end; ++block) {
    int64_t start = block * block_size, length = least(count - start, block_size);
    graft_block_scale scale = graft_find_scale(x, type, start, length);
    absmax[block] = scale.absmax;
    for (int64_t done = 0; done < length; done += GRAFT_CHUNK) {
      int64_t some = least(length - done, GRAFT_CHUNK);
      const float *values = graft_load(x, type, start + done, some, buffer);
      encode(table, scale, values, some, start + done, codes);
    }
  }
}

void graft_decode_blocks(graft_decoder decode, const float *code, const uint8_t *codes,
                         const float *absmax, int64_t count, int64_t block_size, int64_t first,
                         int64_t end, int32_t type, void *y) {
  float buffer[GRAFT_CHUNK];
  for (int64_t block = first; block < end; ++block) {
    int64_t start = block * block_size, length = least(count - start, block_size);
    for (int64_t done = 0; done < length; done += GRAFT_CHUNK) {
      int64_t position = start + done, some = least(length - done, GRAFT_CHUNK);
      float *target = type == GRAFT_FLOAT32 ? (float *)y + position : buffer;
      decode(code, codes, position, absmax[block], some, target);
      graft_store(target, type, position, some, y);
    }
  }
}
