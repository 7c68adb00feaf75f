// The inner part of int8 products: sums of products of a few rows of x and the outputs of a panel.
#ifndef GRAFT_INT8_TILE_H
#define GRAFT_INT8_TILE_H

#include "InstructionSet.h"
#include "PanelFetch.h"

enum { GRAFT_PANEL = 64, GRAFT_TILE_ROWS = 6 };

// A panel of outputs in the order of the dot products, and what their epilogue needs.
typedef struct {
  // For each four k the four bytes of every output, plus 128 so that they are unsigned.
  const uint8_t *codes;
  int64_t output, count;
  // [GRAFT_PANEL], and a row of as many for each outlier column and each of the term's rank.
  const float *scale, *columns;
  graft_panel_fetch fetch;
} graft_int8_panel;

// Both only with dot products.

// Puts a panel's outputs of the weight into the order of the dot products.
void graft_pack_panel(const graft_int8_product *p, int64_t output, int64_t count, uint8_t *codes);

// Rows row ..< end of y for the panel's outputs.
void graft_multiply_panel(const graft_int8_product *p, graft_int8_panel *panel, int64_t row,
                          int64_t end);

// sums[r * GRAFT_PANEL + n] over k of x[r, k] w[n, k], for weight rows as they lie and at most 4 rows
// of x, on every processor.
void graft_multiply_rows(const int8_t *x, int64_t rows, int64_t depth, const int8_t *weight,
                         int64_t count, int32_t *sums);

#endif
