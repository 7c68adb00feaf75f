// Blockwise codes of 8 bits: the nearest of 256 numbers to each number of a block over its absmax.
#include <string.h>

#include "Block.h"
#include "InstructionSet.h"

static uint8_t search_thresholds(const graft_code_search *search, float x) {
  int low = 0, high = 255;  // The code is in low ... high.
  while (low < high) {
    int middle = (low + high) / 2;
    if (x > search->threshold[middle]) low = middle + 1;
    else high = middle;
  }
  return (uint8_t)low;
}

static uint8_t search_cells(const graft_code_search *search, float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  int32_t cell = (int32_t)(bits >> 16 & 0x7FFF);
  if (cell < GRAFT_FIRST_CELL) return search->zero;
  int32_t negative = (int32_t)bits >> 31;  // 0 or -1
  uint32_t entry = search->cell[cell - GRAFT_FIRST_CELL - negative * GRAFT_CELL_COUNT];
  int32_t step = (bits & 0xFFFF) > (entry & 0xFFFF);
  return (uint8_t)((int32_t)(entry >> 16) + step * (1 + 2 * negative));
}

static void find_scalar(const graft_code_search *search, const float *x, int64_t count,
                        uint8_t *codes) {
  if (search->direct) {
    for (int64_t i = 0; i < count; ++i) codes[i] = search_cells(search, x[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) codes[i] = search_thresholds(search, x[i]);
  }
}

#ifdef GRAFT_X86
// Scales, clamps and looks up 8 or 16 numbers at a time; returns how many were done.

TARGET_AVX2 static int64_t quantize_avx2(const graft_code_search *search, float factor,
                                         const float *x, int64_t count, uint8_t *codes) {
  const __m256 scale = _mm256_set1_ps(factor), one = _mm256_set1_ps(1), minus = _mm256_set1_ps(-1);
  const __m256i half = _mm256_set1_epi32(0xFFFF), first = _mm256_set1_epi32(GRAFT_FIRST_CELL);
  const __m256i cells = _mm256_set1_epi32(GRAFT_CELL_COUNT), ones = _mm256_set1_epi32(1);
  const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                        0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
    __m256i bits = _mm256_castps_si256(_mm256_max_ps(_mm256_min_ps(v, one), minus));
    __m256i negative = _mm256_srai_epi32(bits, 31);
    __m256i cell = _mm256_srli_epi32(_mm256_slli_epi32(bits, 1), 17);
    cell = _mm256_sub_epi32(_mm256_max_epi32(cell, first), first);
    // What lies below the first cell must not cross its limit, which is the highest.
    cell = _mm256_add_epi32(cell, _mm256_and_si256(negative, cells));
    __m256i entry = _mm256_i32gather_epi32((const int *)search->cell, cell, 4);
    __m256i over = _mm256_cmpgt_epi32(_mm256_and_si256(bits, half), _mm256_and_si256(entry, half));
    __m256i step = _mm256_and_si256(over, _mm256_or_si256(negative, ones));
    __m256i code = _mm256_shuffle_epi8(_mm256_add_epi32(_mm256_srli_epi32(entry, 16), step), pick);
    int32_t low = _mm256_extract_epi32(code, 0), high = _mm256_extract_epi32(code, 4);
    memcpy(codes + i, &low, 4);
    memcpy(codes + i + 4, &high, 4);
  }
  return i;
}

TARGET_AVX512 static int64_t quantize_avx512(const graft_code_search *search, float factor,
                                             const float *x, int64_t count, uint8_t *codes) {
  const __m512 scale = _mm512_set1_ps(factor), one = _mm512_set1_ps(1), minus = _mm512_set1_ps(-1);
  const __m512i half = _mm512_set1_epi32(0xFFFF), first = _mm512_set1_epi32(GRAFT_FIRST_CELL);
  const __m512i cells = _mm512_set1_epi32(GRAFT_CELL_COUNT), ones = _mm512_set1_epi32(1);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), scale);
    __m512i bits = _mm512_castps_si512(_mm512_max_ps(_mm512_min_ps(v, one), minus));
    __m512i negative = _mm512_srai_epi32(bits, 31);
    __m512i cell = _mm512_srli_epi32(_mm512_slli_epi32(bits, 1), 17);
    cell = _mm512_sub_epi32(_mm512_max_epi32(cell, first), first);
    cell = _mm512_add_epi32(cell, _mm512_and_si512(negative, cells));
    __m512i entry = _mm512_i32gather_epi32(cell, search->cell, 4);
    __mmask16 over =
        _mm512_cmpgt_epi32_mask(_mm512_and_si512(bits, half), _mm512_and_si512(entry, half));
    __m512i code = _mm512_srli_epi32(entry, 16);
    code = _mm512_mask_add_epi32(code, over, code, _mm512_or_si512(negative, ones));
    _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(code));
  }
  return i;
}

// As above without gathers from memory, which are slow on many processors: the code is computed, and
// looked up only where that is not exact, for one number in 500. A block of 256 took 135 ns so and
// 168 ns with gathers on an AMD processor.
TARGET_AVX512 static int64_t quantize_segments(const graft_code_search *search, float factor,
                                               const float *x, int64_t count, uint8_t *codes) {
  const __m512 scale = _mm512_set1_ps(factor);
  const __m512i first = _mm512_set1_epi32(GRAFT_FIRST_CELL >> 7), none = _mm512_setzero_si512();
  const __m512i ones = _mm512_set1_epi32(1), zero = _mm512_set1_epi32(search->zero);
  const __m512 low = _mm512_loadu_ps(search->border), high = _mm512_loadu_ps(search->border + 16);
  const __m512i low_segment = _mm512_loadu_si512(search->segment);
  const __m512i high_segment = _mm512_loadu_si512(search->segment + 16);
  const __m512 slope = _mm512_loadu_ps(search->slope), offset = _mm512_loadu_ps(search->offset);
  const __m512 top = _mm512_loadu_ps(search->top);
  const __m512 margin = _mm512_set1_ps(GRAFT_SEGMENT_MARGIN);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    // What comes out slightly above 1 is in the last cell and the last segment as well.
    __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), scale);
    __m512 magnitude = _mm512_abs_ps(v);
    __m512i bits = _mm512_castps_si512(magnitude);
    __m512i power = _mm512_max_epi32(_mm512_srli_epi32(bits, 23), first);
    power = _mm512_sub_epi32(power, first);
    __m512 border = _mm512_permutex2var_ps(low, power, high);
    __m512i segment = _mm512_permutex2var_epi32(low_segment, power, high_segment);
    __mmask16 beyond = _mm512_cmp_ps_mask(magnitude, border, _CMP_GT_OQ);
    segment = _mm512_mask_add_epi32(segment, beyond, segment, ones);
    __m512 place = _mm512_fmadd_ps(magnitude, _mm512_permutexvar_ps(segment, slope),
                                   _mm512_permutexvar_ps(segment, offset));
    place = _mm512_min_ps(place, _mm512_permutexvar_ps(segment, top));
    __m512 from_whole = _mm512_reduce_ps(place, _MM_FROUND_TO_NEAREST_INT);
    __mmask16 unsure = _mm512_cmp_ps_mask(_mm512_abs_ps(from_whole), margin, _CMP_LT_OQ);
    // At a border, and next to it, positive and negative numbers differ.
    __m512i distance = _mm512_sub_epi32(bits, _mm512_castps_si512(border));
    unsure |= _mm512_cmple_epu32_mask(distance, ones);
    __m512i code = _mm512_cvttps_epi32(place);
    code = _mm512_mask_sub_epi32(code, _mm512_movepi32_mask(_mm512_castps_si512(v)), none, code);
    code = _mm512_max_epi32(_mm512_add_epi32(code, zero), none);
    _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(code));
    if (unsure) {
      float values[16];
      _mm512_storeu_ps(values, v);
      for (uint32_t rest = unsure; rest != 0; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        codes[i + lane] = search_cells(search, values[lane]);
      }
    }
  }
  return i;
}
#endif

static void quantize_chunk(const void *table, graft_block_scale scale, const float *x,
                           int64_t count, int64_t position, uint8_t *codes) {
  const graft_code_search *search = table;
  codes += position;
  int64_t done = 0;
#ifdef GRAFT_X86
  if (search->direct && scale.factor != 0) {
    int32_t set = graft_instruction_set();
    if (set == GRAFT_AVX512) {
      done = (search->segmented ? quantize_segments : quantize_avx512)(search, scale.factor, x,
                                                                       count, codes);
    }
    else if (set == GRAFT_AVX2) done = quantize_avx2(search, scale.factor, x, count, codes);
  }
#endif
  float normalized[GRAFT_CHUNK];
  graft_normalize(scale, x + done, count - done, normalized);
  find_scalar(search, normalized, count - done, codes + done);
}

void graft_quantize_blockwise(const graft_code_search *search, const void *x, int32_t type,
                              int64_t count, int64_t block_size, int64_t first, int64_t end,
                              uint8_t *codes, float *absmax) {
  graft_encode_blocks(quantize_chunk, search, x, type, count, block_size, first, end, codes, absmax);
}
