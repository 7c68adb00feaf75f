// The inner part of int8 products: sums of products of a few rows of x and the outputs of a panel.
#ifndef GRAFT_INT8_TILE_H
#define GRAFT_INT8_TILE_H

#include "InstructionSet.h"

enum { GRAFT_PANEL = 64, GRAFT_TILE_ROWS = 6 };

// Whether the processor has dot products of bytes (VNNI) and they may be used.
bool graft_has_int8_dot(void);

// Only with dot products: puts outputs output ..< output + count of a weight into the order of
// `graft_multiply_panel`: for each four k the four bytes of every output, plus 128 so that they are
// unsigned.
void graft_pack_panel(const graft_int8_product *p, int64_t output, int64_t count, uint8_t *panel);

// What that offset adds to every output of each row.
void graft_sum_offsets(const int8_t *x, int64_t rows, int64_t depth, int32_t *sums);

// sums[r * GRAFT_PANEL + n] over k of x[r, k] w[n, k], for at most GRAFT_TILE_ROWS rows.
void graft_multiply_panel(const int8_t *x, int64_t rows, int64_t depth, const uint8_t *panel,
                          const int32_t *offsets, int32_t *sums);

// The same for weight rows as they lie and at most 4 rows of x, on every processor.
void graft_multiply_rows(const int8_t *x, int64_t rows, int64_t depth, const int8_t *weight,
                         int64_t count, int32_t *sums);

#endif
