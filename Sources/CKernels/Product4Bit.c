// Products of few rows with a weight in codes of 4 bits, without a decoded copy of it.
#include <string.h>

#include "Code4Bit.h"
#include "InstructionSet.h"

// Rows of x that one pass over the codes serves.
enum { GROUP = 4 };

// Scales are rounded as in decoding: code * nested, then the offset.
static float magnitude(const graft_block_magnitudes *m, int64_t block) {
#pragma STDC FP_CONTRACT OFF
  if (m->absmax != NULL) return m->absmax[block];
  return m->code[m->codes[block]] * m->nested[block / m->nested_size] + m->offset;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Numbers of a row in two halves, those at even and those at odd places, each with room for a vector
// that is read past the end.
static int64_t half_size(int64_t depth) { return (depth + 1) / 2 + 16; }

void graft_split_pairs(const float *x, int64_t rows, int64_t depth, float *workspace) {
  const int64_t half = half_size(depth);
  memset(workspace, 0, (size_t)(rows * half * 2) * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) {
    float *even = workspace + r * 2 * half, *odd = even + half;
    for (int64_t k = 0; k < depth; ++k) (k % 2 == 0 ? even : odd)[k / 2] = x[r * depth + k];
  }
}

// Sums of one output and some rows over k in from ..< to, which begin at an even k within a byte.
typedef struct {
  const float *code;
  const uint8_t *bytes;  // The byte of `from`.
  const float *x;        // The even half of the first row.
  int64_t half, from, to;
} span;

static void add_scalar(const span *s, int64_t rows, float scale, float *sums) {
  for (int64_t r = 0; r < rows; ++r) {
    const float *even = s->x + r * 2 * s->half, *odd = even + s->half;
    float sum = 0;
    for (int64_t k = s->from; k < s->to; ++k) {
      uint8_t pair = s->bytes[(k - s->from) / 2];
      sum += k % 2 == 0 ? s->code[pair >> 4] * even[k / 2] : s->code[pair & 15] * odd[k / 2];
    }
    sums[r] += sum * scale;
  }
}

// The same where a row begins in the middle of a byte, so that even places lie in lower halves.
static void add_shifted(const graft_4bit_product *p, const float *x, int64_t rows, int64_t start,
                        int64_t from, int64_t to, float scale, float *sums) {
  const float *code = graft_code_4bit(p->kind);
  const int64_t half = half_size(p->depth);
  for (int64_t r = 0; r < rows; ++r) {
    float sum = 0;
    for (int64_t k = from; k < to; ++k) {
      uint8_t pair = p->bytes[(start + k) / 2];
      const float *values = x + r * 2 * half + (k % 2 == 0 ? 0 : half);
      sum += code[(start + k) % 2 == 0 ? pair >> 4 : pair & 15] * values[k / 2];
    }
    sums[r] += sum * scale;
  }
}

static void output_any(const graft_4bit_product *p, const float *x, int64_t rows, int64_t output,
                       float *sums) {
  const int64_t start = output * p->depth;
  for (int64_t k = 0; k < p->depth;) {
    int64_t block = (start + k) / p->block_size;
    int64_t to = least(p->depth, (block + 1) * p->block_size - start);
    float scale = magnitude(&p->magnitudes, block);
    if (start % 2 == 0) {
      span s = {graft_code_4bit(p->kind), p->bytes + (start + k) / 2, x, half_size(p->depth), k, to};
      add_scalar(&s, rows, scale, sums);
    } else {
      add_shifted(p, x, rows, start, k, to, scale, sums);
    }
    k = to;
  }
}

#ifdef GRAFT_X86
// Whole rows of blocks of a multiple of 32: two vectors of 16 codes from 16 bytes.
TARGET_AVX512 static inline __attribute__((always_inline)) void output_avx512(
    const graft_4bit_product *p, const float *x, const int rows, int64_t output, __m512 table,
    float *sums) {
  const int64_t half = half_size(p->depth), start = output * p->depth;
  const uint8_t *bytes = p->bytes + start / 2;
  int64_t block = start / p->block_size;
  __m512 total[GROUP];
  for (int r = 0; r < rows; ++r) total[r] = _mm512_setzero_ps();
  for (int64_t k = 0; k < p->depth; k += p->block_size, ++block) {
    __m512 even[GROUP], odd[GROUP];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) even[r] = odd[r] = _mm512_setzero_ps();
    for (int64_t i = k / 2; i < (k + p->block_size) / 2; i += 16) {
      __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(bytes + i)));
      // Only the lowest four bits choose.
      __m512 second = _mm512_permutexvar_ps(pairs, table);
      __m512 first = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), table);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; ++r) {
        const float *values = x + r * 2 * half + i;
        even[r] = _mm512_fmadd_ps(first, _mm512_loadu_ps(values), even[r]);
        odd[r] = _mm512_fmadd_ps(second, _mm512_loadu_ps(values + half), odd[r]);
      }
    }
    __m512 scale = _mm512_set1_ps(magnitude(&p->magnitudes, block));
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; ++r) {
      total[r] = _mm512_fmadd_ps(_mm512_add_ps(even[r], odd[r]), scale, total[r]);
    }
  }
  for (int r = 0; r < rows; ++r) sums[r] = _mm512_reduce_add_ps(total[r]);
}

TARGET_AVX512 static void outputs_avx512(const graft_4bit_product *p, const float *x, int64_t rows,
                                         int64_t output, float *sums) {
  const __m512 table = _mm512_loadu_ps(graft_code_4bit(p->kind));
  switch (rows) {
    case 1: output_avx512(p, x, 1, output, table, sums); break;
    case 2: output_avx512(p, x, 2, output, table, sums); break;
    case 3: output_avx512(p, x, 3, output, table, sums); break;
    default: output_avx512(p, x, 4, output, table, sums); break;
  }
}

TARGET_AVX2 static void output_avx2(const graft_4bit_product *p, const float *x, int64_t rows,
                                    int64_t output, float *sums) {
  const float *code = graft_code_4bit(p->kind);
  const __m256 low = _mm256_loadu_ps(code), high = _mm256_loadu_ps(code + 8);
  const int64_t half = half_size(p->depth), start = output * p->depth;
  const uint8_t *bytes = p->bytes + start / 2;
  int64_t block = start / p->block_size;
  __m256 total[GROUP] = {0};
  for (int64_t k = 0; k < p->depth; k += p->block_size, ++block) {
    __m256 part[GROUP] = {0};
    for (int64_t i = k / 2; i < (k + p->block_size) / 2; i += 8) {
      __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(bytes + i)));
      __m256 second = graft_4bit_numbers(pairs, low, high);
      __m256 first = graft_4bit_numbers(_mm256_srli_epi32(pairs, 4), low, high);
      for (int64_t r = 0; r < rows; ++r) {
        const float *values = x + r * 2 * half + i;
        part[r] = _mm256_fmadd_ps(first, _mm256_loadu_ps(values), part[r]);
        part[r] = _mm256_fmadd_ps(second, _mm256_loadu_ps(values + half), part[r]);
      }
    }
    __m256 scale = _mm256_set1_ps(magnitude(&p->magnitudes, block));
    for (int64_t r = 0; r < rows; ++r) total[r] = _mm256_fmadd_ps(part[r], scale, total[r]);
  }
  for (int64_t r = 0; r < rows; ++r) {
    float lanes[8];
    _mm256_storeu_ps(lanes, total[r]);
    for (int lane = 0; lane < 8; ++lane) sums[r] += lanes[lane];
  }
}
#endif

void graft_4bit_multiply(const graft_4bit_product *p, const float *workspace, int64_t first,
                         int64_t end) {
  const int64_t half = half_size(p->depth);
  // Rows of whole blocks can be read without looking where a block begins.
  const bool aligned = p->depth % p->block_size == 0;
  for (int64_t output = first; output < end; ++output) {
    for (int64_t begin = 0; begin < p->rows; begin += GROUP) {
      int64_t rows = least(p->rows - begin, GROUP);
      const float *x = workspace + begin * 2 * half;
      float sums[GROUP] = {0};
#ifdef GRAFT_X86
      int32_t set = graft_instruction_set();
      if (aligned && set == GRAFT_AVX512) outputs_avx512(p, x, rows, output, sums);
      else if (aligned && set == GRAFT_AVX2) output_avx2(p, x, rows, output, sums);
      else
#endif
        output_any(p, x, rows, output, sums);
      float bias = p->bias == NULL ? 0 : p->bias[output];
      for (int64_t r = 0; r < rows; ++r) p->y[(begin + r) * p->outputs + output] = sums[r] + bias;
    }
  }
}
