// Columns of 8-bit whole numbers, each over its own largest magnitude.
#include <math.h>
#include <string.h>

#include "Block.h"
#include "Conversion.h"
#include "InstructionSet.h"

#pragma STDC FP_CONTRACT OFF

static bool is_outlier(float x, float threshold) { return threshold > 0 && fabsf(x) >= threshold; }

void graft_column_scales(const void *x, int32_t type, int64_t rows, int64_t columns,
                         float threshold, int64_t first, int64_t end, float *scale) {
  float buffer[GRAFT_CHUNK];
  memset(scale + first, 0, (size_t)(end - first) * sizeof(float));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t done = first; done < end; done += GRAFT_CHUNK) {
      int64_t some = end - done < GRAFT_CHUNK ? end - done : GRAFT_CHUNK;
      const float *values = graft_load(x, type, row * columns + done, some, buffer);
      for (int64_t i = 0; i < some; ++i) {
        float magnitude = is_outlier(values[i], threshold) ? 0 : fabsf(values[i]);
        // NaN stays once it is there.
        scale[done + i] = scale[done + i] >= magnitude ? scale[done + i]
                        : isnan(scale[done + i])       ? scale[done + i]
                                                       : magnitude;
      }
    }
  }
}

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
