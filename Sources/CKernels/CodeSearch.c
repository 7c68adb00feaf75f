// Prepares a table of numbers for finding the nearest one.
#include <math.h>
#include <string.h>

#include "Block.h"
#include "InstructionSet.h"

// The largest float that is not above the midpoint: x > midpoint exactly when x > this float.
static float threshold_below(float low, float high) {
  double middle = ((double)low + (double)high) / 2;  // Exact: 53 bits hold the sum of neighbours.
  float rounded = (float)middle;
  return (double)rounded > middle ? nextafterf(rounded, -INFINITY) : rounded;
}

static int code_of(const graft_code_search *search, float x) {
  int below = 0;
  for (int i = 0; i < 255; ++i) below += x > search->threshold[i];
  return below;
}

// The float with a cell's upper 16 bits and the given lower ones.
static float in_cell(int cell, bool negative, uint32_t low) {
  uint32_t bits = (uint32_t)(GRAFT_FIRST_CELL + cell) << 16 | low | (negative ? 0x80000000u : 0);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// One cell's entry; false when more than one threshold lies in it.
static bool make_cell(graft_code_search *search, int cell, bool negative) {
  int near = code_of(search, in_cell(cell, negative, 0));
  // Numbers below the first cell are looked up in it.
  if (cell == 0) near = code_of(search, negative ? -0.0f : 0.0f);
  int far = code_of(search, in_cell(cell, negative, 0xFFFF));
  uint32_t limit = 0xFFFF;
  if (near != far) {
    if (cell == 0 || far != near + (negative ? -1 : 1)) return false;
    uint32_t bits;
    memcpy(&bits, &search->threshold[negative ? far : near], sizeof bits);
    limit = bits & 0xFFFF;
    // A negative number crosses at the threshold itself, a positive one above it. The lower half of
    // a threshold at the cell's beginning is 0: then the near side is the cell below.
    if (negative) limit -= 1;
  }
  search->cell[cell + (negative ? GRAFT_CELL_COUNT : 0)] = (uint32_t)near << 16 | limit;
  return true;
}

// Fills segment `index` with codes `first` ... `last` from zero's. False when a border is too far from
// a whole number.
static bool fit_segment(graft_code_search *search, int index, int first, int last) {
  const float *border = search->threshold + search->zero;  // border[k]: of k and k + 1.
  double slope = 0, offset = first + 0.5;
  if (last > first + 1) {
    slope = (last - first - 1) / ((double)border[last - 1] - (double)border[first]);
    offset = first + 1 - slope * (double)border[first];
  }
  search->slope[index] = (float)slope;
  search->offset[index] = (float)offset;
  search->top[index] = (float)last + 0.5f;
  for (int k = first; k < last; ++k) {
    double place = (double)search->slope[index] * (double)border[k] + (double)search->offset[index];
    if (fabs(place - (k + 1)) > (double)GRAFT_SEGMENT_MARGIN / 4) return false;
  }
  if (first == 0) return true;
  double begin = slope * (double)border[first - 1] + offset;
  return begin > first - (double)GRAFT_SEGMENT_MARGIN / 4;
}

// Splits the positive numbers into segments; false when the table is not made of few.
static bool make_segments(graft_code_search *search) {
  int zero = search->zero, count = 255 - zero, index = 0;
  const float *border = search->threshold + zero;
  if (search->code[zero] != 0) return false;
  for (int k = 1; k <= zero; ++k) {
    if (k > count || search->code[zero - k] != -search->code[zero + k]) return false;
  }
  for (int power = 0; power < GRAFT_SEGMENT_POWERS; ++power) search->border[power] = INFINITY;
  for (int first = 0; first <= count; ++index) {
    if (index == GRAFT_SEGMENT_COUNT) return false;
    int last = first;
    // At least two borders, equally distant.
    if (first > 0 && first + 2 <= count) {
      double step = (double)border[first + 1] - (double)border[first];
      last = first + 2;
      while (last < count && fabs((double)border[last] - (double)border[last - 1] - step) < 0.01 * step) {
        last += 1;
      }
      if (step <= 0) return false;
    }
    if (!fit_segment(search, index, first, last)) return false;
    if (last < count) {
      uint32_t bits;
      memcpy(&bits, &border[last], sizeof bits);
      int power = (int)(bits >> 23) - (GRAFT_FIRST_CELL >> 7);
      if (power < 0 || power > 23 || search->border[power] != INFINITY) return false;
      search->border[power] = border[last];
    }
    first = last + 1;
  }
  int current = 0;
  for (int power = 0; power < GRAFT_SEGMENT_POWERS; ++power) {
    search->segment[power] = current;
    if (search->border[power] != INFINITY) current += 1;
  }
  return true;
}

void graft_make_code_search(const float *code, graft_code_search *search) {
  memcpy(search->code, code, sizeof search->code);
  for (int i = 0; i < 255; ++i) search->threshold[i] = threshold_below(code[i], code[i + 1]);
  search->zero = (uint8_t)code_of(search, 0);
  search->direct = true;
  for (int cell = 0; cell < GRAFT_CELL_COUNT && search->direct; ++cell) {
    search->direct = make_cell(search, cell, false) && make_cell(search, cell, true);
  }
  search->segmented = search->direct && make_segments(search);
}
