// The two tables of 16 numbers and what divides them.
#ifndef GRAFT_CODE_4BIT_H
#define GRAFT_CODE_4BIT_H

#include <stdint.h>

extern const float graft_nf4_code[16];
extern const float graft_fp4_code[16];

// NF4: x gets code i when it is above i of these; the last one is never exceeded.
extern const float graft_nf4_threshold[16];

// FP4: |x| is above i of the first seven; then `graft_fp4_nibble[i]` is its code.
extern const float graft_fp4_threshold[8];
extern const uint8_t graft_fp4_nibble[8];

#endif
