// The weight that a product's next panel is made from, asked for while another panel is multiplied.
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
#endif

#endif
