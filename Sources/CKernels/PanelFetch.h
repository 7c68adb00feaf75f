// What a product reads and writes next, asked for while it multiplies: the weight that the next panel is
// made from, the rows of x of the next tile, and a tile of y.
#ifndef GRAFT_PANEL_FETCH_H
#define GRAFT_PANEL_FETCH_H

#include "InstructionSet.h"

typedef struct {
  // Row i is 2^row_bits lines of the cache from `from` + i * `stride` bytes on.
  const char *from;
  int64_t stride, row_bits, lines;
  // Lines that were asked for.
  int64_t next;
} graft_panel_fetch;

static inline graft_panel_fetch graft_fetch_rows(const void *from, int64_t rows, int64_t stride,
                                                 int64_t row_bits) {
  return (graft_panel_fetch){from, stride, row_bits, rows << row_bits, 0};
}

// One stretch of memory.
static inline graft_panel_fetch graft_fetch_stretch(const void *from, int64_t bytes) {
  return graft_fetch_rows(from, bytes / 64, 64, 0);
}

#ifdef GRAFT_X86
// Asks for one line more.
TARGET_AVX512 static inline __attribute__((always_inline)) void graft_fetch_line(
    graft_panel_fetch *fetch) {
  if (fetch->next >= fetch->lines) return;
  const int64_t i = fetch->next++, inside = i & (((int64_t)1 << fetch->row_bits) - 1);
  _mm_prefetch(fetch->from + (i >> fetch->row_bits) * fetch->stride + inside * 64, _MM_HINT_T1);
}

// Asks for lines `index` * `count` ..< (`index` + 1) * `count` of `bytes` from `from` on, into the second
// cache.
TARGET_AVX512 static inline __attribute__((always_inline)) void graft_fetch_rows_ahead(
    const void *from, int64_t bytes, int64_t index, const int count) {
  const char *next = (const char *)from + 64 * count * index;
  if (64 * count * index >= bytes) return;
#pragma clang loop unroll(full)
  for (int i = 0; i < count; ++i) _mm_prefetch(next + 64 * i, _MM_HINT_T1);
}

// Asks for a tile of y, which has `stride` columns, so that its lines are there, and nobody else's, when
// the sums are.
TARGET_AVX512 static inline __attribute__((always_inline)) void graft_fetch_tile(
    const float *y, int64_t stride, const int rows, const int vectors) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; ++r) {
#pragma clang loop unroll(full)
    for (int n = 0; n < vectors; ++n) {
      // Without a name that needs no more of the target than AVX-512; asked for as what is only read,
      // lines that another core wrote last cost more than they gain.
      __asm__ volatile("prefetchw %0" : : "m"(y[r * stride + 16 * n]));
    }
  }
}
#endif

#endif
