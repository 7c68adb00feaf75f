// Rows of 8-bit whole numbers, with outliers left out.
#include <math.h>
#include <string.h>

#include "Block.h"
#include "Conversion.h"
#include "InstructionSet.h"

// The largest magnitude below the threshold as bits, NaN above all; outliers are marked.
static uint32_t scan_scalar(const float *x, int64_t count, float threshold, uint32_t largest,
                            uint8_t *outlier) {
  for (int64_t i = 0; i < count; ++i) {
    float magnitude = fabsf(x[i]);
    uint32_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    if (threshold > 0 && magnitude >= threshold) {
      // Rows are done on several threads; all write the same.
      if (outlier != NULL) __atomic_store_n(outlier + i, 1, __ATOMIC_RELAXED);
    } else if (bits > largest) {
      largest = bits;
    }
  }
  return largest;
}

static void round_scalar(const float *x, int64_t count, float threshold, float factor,
                         int8_t *codes) {
  for (int64_t i = 0; i < count; ++i) {
    bool out = threshold > 0 && fabsf(x[i]) >= threshold;
    codes[i] = out ? 0 : (int8_t)rintf(x[i] * factor);
  }
}

#ifdef GRAFT_X86
#define GRAFT_CODES TARGET_AVX512 static inline __attribute__((always_inline))

GRAFT_CODES __mmask16 lanes(int64_t count) {
  return count >= 16 ? 0xFFFF : (__mmask16)((1u << count) - 1);
}

// x[0 ..< 16], times its columns' factors.
GRAFT_CODES __m512 load_avx512(const float *x, const float *column, int64_t i, __mmask16 some,
                               const bool scales) {
  __m512 value = _mm512_maskz_loadu_ps(some, x + i);
  return scales ? _mm512_mul_ps(value, _mm512_maskz_loadu_ps(some, column + i)) : value;
}

GRAFT_CODES uint32_t scan_vectors(const float *x, const float *column, int64_t count,
                                  float threshold, uint32_t largest, uint8_t *outlier,
                                  const bool scales, const bool leaves_out) {
  const __m512 limit = _mm512_set1_ps(threshold);
  __m512i most = _mm512_set1_epi32((int32_t)largest);
  for (int64_t i = 0; i < count; i += 16) {
    __m512 magnitude = _mm512_abs_ps(load_avx512(x, column, i, lanes(count - i), scales));
    __m512i bits = _mm512_castps_si512(magnitude);
    if (!leaves_out) {
      most = _mm512_max_epu32(most, bits);
      continue;
    }
    __mmask16 out = _mm512_cmp_ps_mask(magnitude, limit, _CMP_GE_OQ);
    most = _mm512_mask_max_epu32(most, (__mmask16)~out, most, bits);
    for (unsigned rest = outlier == NULL ? 0 : out; rest != 0; rest &= rest - 1) {
      // Rows are done on several threads; all write the same.
      __atomic_store_n(outlier + i + __builtin_ctz(rest), 1, __ATOMIC_RELAXED);
    }
  }
  return _mm512_reduce_max_epu32(most);
}

TARGET_AVX512 static uint32_t scan_avx512(const float *x, const float *column, int64_t count,
                                          float threshold, uint32_t largest, uint8_t *outlier) {
  if (threshold > 0) {
    return column == NULL
               ? scan_vectors(x, column, count, threshold, largest, outlier, false, true)
               : scan_vectors(x, column, count, threshold, largest, outlier, true, true);
  }
  return column == NULL
             ? scan_vectors(x, column, count, threshold, largest, outlier, false, false)
             : scan_vectors(x, column, count, threshold, largest, outlier, true, false);
}

TARGET_AVX2 static int64_t scan_avx2(const float *x, int64_t count, float threshold,
                                     uint32_t *largest, uint8_t *outlier) {
  const __m256 limit = _mm256_set1_ps(threshold);
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  __m256i most = _mm256_set1_epi32((int32_t)*largest);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i bits = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(x + i)), magnitude);
    if (threshold > 0) {
      __m256 out = _mm256_cmp_ps(_mm256_castsi256_ps(bits), limit, _CMP_GE_OQ);
      int lanes = _mm256_movemask_ps(out);
      bits = _mm256_andnot_si256(_mm256_castps_si256(out), bits);
      for (; lanes != 0 && outlier != NULL; lanes &= lanes - 1) {
        __atomic_store_n(outlier + i + __builtin_ctz((unsigned)lanes), 1, __ATOMIC_RELAXED);
      }
    }
    most = _mm256_max_epu32(most, bits);
  }
  uint32_t lanes[8];
  _mm256_storeu_si256((__m256i *)lanes, most);
  for (int lane = 0; lane < 8; ++lane) {
    if (lanes[lane] > *largest) *largest = lanes[lane];
  }
  return i;
}

TARGET_AVX512 static int64_t scale_codes_avx512(const int8_t *codes, int64_t count, float scale,
                                                float *y) {
  const __m512 factor = _mm512_set1_ps(scale), whole = _mm512_set1_ps(1.0f / 127);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512i code = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(codes + i)));
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(code), factor);
    _mm512_storeu_ps(y + i, _mm512_mul_ps(value, whole));
  }
  return i;
}

TARGET_AVX2 static int64_t scale_codes_avx2(const int8_t *codes, int64_t count, float scale,
                                            float *y) {
  const __m256 factor = _mm256_set1_ps(scale), whole = _mm256_set1_ps(1.0f / 127);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i code = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(codes + i)));
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(code), factor);
    _mm256_storeu_ps(y + i, _mm256_mul_ps(value, whole));
  }
  return i;
}

GRAFT_CODES __m512i code_vector(const float *x, const float *column, int64_t i, __mmask16 some,
                                float threshold, float factor, const bool scales,
                                const bool leaves_out) {
  __m512 value = load_avx512(x, column, i, some, scales);
  __m512 code = _mm512_mul_ps(value, _mm512_set1_ps(factor));
  if (!leaves_out) return _mm512_cvtps_epi32(code);
  __mmask16 in =
      _mm512_cmp_ps_mask(_mm512_abs_ps(value), _mm512_set1_ps(threshold), _CMP_NGE_UQ);
  return _mm512_maskz_cvtps_epi32(in, code);
}

GRAFT_CODES void round_vectors(const float *x, const float *column, int64_t count, float threshold,
                               float factor, int8_t *codes, const bool scales,
                               const bool leaves_out) {
  // Words of four vectors, whose parts packing leaves in turns, in their order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    __m512i code[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; ++j) {
      code[j] = code_vector(x, column, i + 16 * j, 0xFFFF, threshold, factor, scales, leaves_out);
    }
    __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(code[0], code[1]),
                                       _mm512_packs_epi32(code[2], code[3]));
    _mm512_storeu_si512(codes + i, _mm512_permutexvar_epi32(order, bytes));
  }
  for (; i < count; i += 16) {
    __mmask16 some = lanes(count - i);
    __m512i code = code_vector(x, column, i, some, threshold, factor, scales, leaves_out);
    _mm512_mask_cvtsepi32_storeu_epi8(codes + i, some, code);
  }
}

TARGET_AVX512 static void round_avx512(const float *x, const float *column, int64_t count,
                                       float threshold, float factor, int8_t *codes) {
  if (threshold > 0) {
    if (column == NULL) round_vectors(x, column, count, threshold, factor, codes, false, true);
    else round_vectors(x, column, count, threshold, factor, codes, true, true);
  } else {
    if (column == NULL) round_vectors(x, column, count, threshold, factor, codes, false, false);
    else round_vectors(x, column, count, threshold, factor, codes, true, false);
  }
}

TARGET_AVX2 static int64_t round_avx2(const float *x, int64_t count, float threshold, float factor,
                                      int8_t *codes) {
  const __m256 limit = _mm256_set1_ps(threshold), scale = _mm256_set1_ps(factor);
  const __m256 sign = _mm256_set1_ps(-0.0f);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256 v = _mm256_loadu_ps(x + i);
    __m256i code = _mm256_cvtps_epi32(_mm256_mul_ps(v, scale));
    if (threshold > 0) {
      __m256 in = _mm256_cmp_ps(_mm256_andnot_ps(sign, v), limit, _CMP_NGE_UQ);
      code = _mm256_and_si256(code, _mm256_castps_si256(in));
    }
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    _mm_storel_epi64((__m128i *)(codes + i), _mm_packs_epi16(words, words));
  }
  return i;
}
#endif

static uint32_t scan(const float *x, int64_t count, float threshold, uint32_t largest,
                     uint8_t *outlier) {
  int64_t i = 0;
#ifdef GRAFT_X86
  if (graft_instruction_set() >= GRAFT_AVX2) {
    i = scan_avx2(x, count, threshold, &largest, outlier);
  }
#endif
  return scan_scalar(x + i, count - i, threshold, largest, outlier == NULL ? NULL : outlier + i);
}

static void round_all(const float *x, int64_t count, float threshold, float factor, int8_t *codes) {
  int64_t i = 0;
#ifdef GRAFT_X86
  if (graft_instruction_set() >= GRAFT_AVX2) {
    i = round_avx2(x, count, threshold, factor, codes);
  }
#endif
  round_scalar(x + i, count - i, threshold, factor, codes + i);
}

// Numbers of a row, each times its column's factor where there are factors.
static const float *scaled(const float *values, const float *factor, int64_t count, float *buffer) {
  if (factor == NULL) return values;
  for (int64_t i = 0; i < count; ++i) buffer[i] = values[i] * factor[i];
  return buffer;
}

void graft_quantize_rows(const void *x, int32_t type, const float *column_factor, int64_t columns,
                         float threshold, int64_t first, int64_t end, int8_t *codes, float *scale,
                         uint8_t *outlier) {
  float buffer[GRAFT_CHUNK];
#ifdef GRAFT_X86
  const bool wide = graft_instruction_set() == GRAFT_AVX512;
#endif
  for (int64_t row = first; row < end; ++row) {
    int64_t start = row * columns;
    uint32_t largest = 0;
    for (int64_t done = 0; done < columns; done += GRAFT_CHUNK) {
      int64_t some = columns - done < GRAFT_CHUNK ? columns - done : GRAFT_CHUNK;
      const float *factors = column_factor == NULL ? NULL : column_factor + done;
      uint8_t *marks = outlier == NULL ? NULL : outlier + done;
      const float *values = graft_load(x, type, start + done, some, buffer);
#ifdef GRAFT_X86
      if (wide) {
        largest = scan_avx512(values, factors, some, threshold, largest, marks);
        continue;
      }
#endif
      largest = scan(scaled(values, factors, some, buffer), some, threshold, largest, marks);
    }
    memcpy(scale + row, &largest, sizeof largest);
    float factor = graft_int8_factor(scale[row]);
    if (factor == 0) {
      memset(codes + start, 0, (size_t)columns);
      continue;
    }
    for (int64_t done = 0; done < columns; done += GRAFT_CHUNK) {
      int64_t some = columns - done < GRAFT_CHUNK ? columns - done : GRAFT_CHUNK;
      const float *factors = column_factor == NULL ? NULL : column_factor + done;
      const float *values = graft_load(x, type, start + done, some, buffer);
#ifdef GRAFT_X86
      if (wide) {
        round_avx512(values, factors, some, threshold, factor, codes + start + done);
        continue;
      }
#endif
      round_all(scaled(values, factors, some, buffer), some, threshold, factor,
                codes + start + done);
    }
  }
}

// code * scale * (1 / 127), in this order.
static void scale_codes(const int8_t *codes, int64_t count, float scale, float *y) {
  int64_t i = 0;
#ifdef GRAFT_X86
  int32_t set = graft_instruction_set();
  if (set == GRAFT_AVX512) i = scale_codes_avx512(codes, count, scale, y);
  else if (set == GRAFT_AVX2) i = scale_codes_avx2(codes, count, scale, y);
#endif
  for (; i < count; ++i) y[i] = codes[i] * scale * (1.0f / 127);
}

void graft_dequantize_rows(const int8_t *codes, const float *scale, int64_t columns, int64_t first,
                           int64_t end, int32_t type, void *y) {
  float buffer[GRAFT_CHUNK];
  for (int64_t row = first; row < end; ++row) {
    for (int64_t done = 0; done < columns; done += GRAFT_CHUNK) {
      int64_t some = columns - done < GRAFT_CHUNK ? columns - done : GRAFT_CHUNK;
      int64_t start = row * columns + done;
      float *target = type == GRAFT_FLOAT32 ? (float *)y + start : buffer;
      scale_codes(codes + start, some, scale[row], target);
      graft_store(target, type, start, some, y);
    }
  }
}

void graft_take_columns(const void *x, int32_t type, int64_t columns, const int64_t *chosen,
                        int64_t count, int64_t first, int64_t end, int8_t *codes, float *taken) {
  float buffer[1];
  for (int64_t row = first; row < end; ++row) {
    const int64_t start = row * columns;
    for (int64_t c = 0; c < count; ++c) {
      const int64_t place = start + chosen[c];
      taken[row * count + c] = type == GRAFT_FLOAT32 ? ((const float *)x)[place]
                                                     : *graft_load(x, type, place, 1, buffer);
      codes[place] = 0;
    }
  }
}
