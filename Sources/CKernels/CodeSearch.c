// Prepares a table of numbers for finding the nearest one.
#include <math.h>
#include <string.h>

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

void graft_make_code_search(const float *code, graft_code_search *search) {
  memcpy(search->code, code, sizeof search->code);
  for (int i = 0; i < 255; ++i) search->threshold[i] = threshold_below(code[i], code[i + 1]);
  search->zero = (uint8_t)code_of(search, 0);
  search->direct = true;
  for (int cell = 0; cell < GRAFT_CELL_COUNT && search->direct; ++cell) {
    search->direct = make_cell(search, cell, false) && make_cell(search, cell, true);
  }
}
