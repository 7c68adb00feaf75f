// Columns of 8-bit whole numbers, each over its own largest magnitude.
#include <math.h>
#include <string.h>

#include "Block.h"
#include "Conversion.h"
#include "VectorVariants.h"

#pragma STDC FP_CONTRACT OFF

static bool is_outlier(float x, float threshold) { return threshold > 0 && fabsf(x) >= threshold; }

// Magnitudes are compared as bits, where NaN is above all; 0 stands for outliers.
GRAFT_INLINE void graft_column_scales_body(const void *x, int32_t type, int64_t rows,
                                           int64_t columns, float threshold, int64_t first,
                                           int64_t end, float *scale) {
  float buffer[GRAFT_CHUNK];
  uint32_t most[GRAFT_CHUNK], limit = UINT32_MAX;
  if (threshold > 0) memcpy(&limit, &threshold, sizeof limit);
  for (int64_t done = first; done < end; done += GRAFT_CHUNK) {
    int64_t some = end - done < GRAFT_CHUNK ? end - done : GRAFT_CHUNK;
    memset(most, 0, (size_t)some * sizeof *most);
    for (int64_t row = 0; row < rows; ++row) {
      const float *values = graft_load(x, type, row * columns + done, some, buffer);
      for (int64_t i = 0; i < some; ++i) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        bits &= 0x7FFFFFFF;
        const uint32_t found = bits >= limit && bits <= 0x7F800000 ? 0 : bits;
        most[i] = found > most[i] ? found : most[i];
      }
    }
    memcpy(scale + done, most, (size_t)some * sizeof *most);
  }
}

GRAFT_VARIANTS(graft_column_scales,
               (const void *x, int32_t type, int64_t rows, int64_t columns, float threshold,
                int64_t first, int64_t end, float *scale),
               (x, type, rows, columns, threshold, first, end, scale))

void graft_quantize_columns(const void *x, int32_t type, int64_t columns, float threshold,
                            const float *scale, int64_t first, int64_t end, int8_t *codes) {
  float buffer[GRAFT_CHUNK];
  for (int64_t row = first; row < end; ++row) {
    for (int64_t done = 0; done < columns; done += GRAFT_CHUNK) {
      int64_t some = columns - done < GRAFT_CHUNK ? columns - done : GRAFT_CHUNK;
      const float *values = graft_load(x, type, row * columns + done, some, buffer);
      for (int64_t i = 0; i < some; ++i) {
        float factor = graft_int8_factor(scale[done + i]);
        bool zero = factor == 0 || is_outlier(values[i], threshold);
        codes[row * columns + done + i] = zero ? 0 : (int8_t)rintf(values[i] * factor);
      }
    }
  }
}

// A number that is well mixed in all bits for each pair of row and place (the finaliser of
// Steele et al. 2014, SplitMix).
static uint32_t mixed(uint64_t state) {
  state += 0x9E3779B97F4A7C15u;
  state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9u;
  state = (state ^ state >> 27) * 0x94D049BB133111EBu;
  return (uint32_t)(state >> 40);
}

void graft_quantize_rows_stochastic(const float *x, int64_t columns, uint64_t seed, int64_t first,
                                    int64_t end, int8_t *codes, float *scale) {
  for (int64_t row = first; row < end; ++row) {
    const float *values = x + row * columns;
    graft_block_scale found = graft_find_scale(values, GRAFT_FLOAT32, 0, columns);
    scale[row] = found.absmax;
    float factor = graft_int8_factor(found.absmax);
    uint64_t stream = seed + (uint64_t)row * (uint64_t)columns * 0x9E3779B97F4A7C15u;
    for (int64_t i = 0; i < columns; ++i) {
      float chance = (float)mixed(stream + (uint64_t)i * 0x9E3779B97F4A7C15u) * 0x1p-24f;
      float rounded = floorf(values[i] * factor + chance);
      // The largest may come out above 127 by rounding.
      codes[row * columns + i] =
          factor == 0 ? 0 : (int8_t)(rounded > 127 ? 127 : rounded < -127 ? -127 : rounded);
    }
  }
}
