// What a panel of outputs needs of a product of low rank.
#ifndef GRAFT_NARROW_COLUMNS_H
#define GRAFT_NARROW_COLUMNS_H

#include "include/NarrowTerm.h"

// columns[r * panel + n] = scale * factor[r, output + n] for n < count, 0 up to panel.
static inline void graft_narrow_columns(const graft_narrow_term *term, int64_t output,
                                        int64_t count, int64_t panel, float *columns) {
  for (int64_t r = 0; r < term->rank; ++r) {
    const float *factor = term->factor + r * term->factor_row + output * term->factor_step;
    for (int64_t n = 0; n < panel; ++n) {
      columns[r * panel + n] = n < count ? factor[n * term->factor_step] * term->scale : 0;
    }
  }
}

#endif
