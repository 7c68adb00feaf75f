// The largest number of each row and its place.
#include <math.h>

#include "include/DecodingKernels.h"
#include "VectorVariants.h"

GRAFT_INLINE void graft_row_maximum_body(const float *x, int64_t size, int64_t first, int64_t end,
                                         float *largest, int64_t *place) {
  enum { STRETCH = 1024 };
  for (int64_t row = first; row < end; ++row) {
    const float *from = x + row * size;
    float best = -INFINITY;
    int64_t begin = 0;
    bool strange = false;
    // The first stretch that has the largest number; its place is looked for afterwards.
    for (int64_t at = 0; at < size; at += STRETCH) {
      const int64_t count = size - at < STRETCH ? size - at : STRETCH;
      float lanes[GRAFT_LANES];
      int32_t odd[GRAFT_LANES] = {0};
      for (int j = 0; j < GRAFT_LANES; ++j) lanes[j] = -INFINITY;
      int64_t i = 0;
      for (; i + GRAFT_LANES <= count; i += GRAFT_LANES) {
        for (int j = 0; j < GRAFT_LANES; ++j) {
          const float value = from[at + i + j];
          lanes[j] = value > lanes[j] ? value : lanes[j];
          odd[j] |= value != value;
        }
      }
      for (int j = 0; i < count; ++i, ++j) {
        const float value = from[at + i];
        lanes[j] = value > lanes[j] ? value : lanes[j];
        odd[j] |= value != value;
      }
      float most = -INFINITY;
      for (int j = 0; j < GRAFT_LANES; ++j) {
        most = lanes[j] > most ? lanes[j] : most;
        strange |= odd[j] != 0;
      }
      if (strange) {
        begin = at;
        break;
      }
      if (most > best) {
        best = most;
        begin = at;
      }
    }
    int64_t index = begin;
    if (strange) {
      while (from[index] == from[index]) ++index;
    } else {
      while (from[index] != best) ++index;
    }
    largest[row] = from[index];
    place[row] = index;
  }
}

GRAFT_VARIANTS(graft_row_maximum,
               (const float *x, int64_t size, int64_t first, int64_t end, float *largest,
                int64_t *place),
               (x, size, first, end, largest, place))
