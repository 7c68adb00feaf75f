// Made from the bits in which bitsandbytes 0.50.2 holds them; thresholds are the largest floats that
// are not above the exact midpoints.
#include "Code4Bit.h"

#include <math.h>

#include "include/CKernels.h"

const float graft_nf4_code[16] = {
    -0x1.000000p+0f, -0x1.647362p-1f, -0x1.0cd660p-1f, -0x1.946540p-2f,
    -0x1.23449ap-2f, -0x1.7a6a7ep-3f, -0x1.74f0e2p-4f, 0,
    0x1.45f5fep-4f, 0x1.4995c6p-3f, 0x1.f809bap-3f, 0x1.5a0674p-2f,
    0x1.c34970p-2f, 0x1.200f56p-1f, 0x1.722766p-1f, 0x1.000000p+0f};

const float graft_nf4_threshold[16] = {
    -0x1.b239b2p-1f, -0x1.38a4e2p-1f, -0x1.d70900p-2f, -0x1.5bd4eep-2f,
    -0x1.e079dap-3f, -0x1.1a7178p-3f, -0x1.74f0e2p-5f, 0x1.45f5fep-5f,
    0x1.ec90c4p-4f, 0x1.a0cfc0p-3f, 0x1.2b05a8p-2f, 0x1.8ea7f2p-2f,
    0x1.00da06p-1f, 0x1.491b5ep-1f, 0x1.b913b2p-1f, INFINITY};

const float graft_fp4_code[16] = {
    0, 0x1.555556p-8f, 0x1.555556p-1f, 0x1.000000p+0f,
    0x1.555556p-2f, 0x1.000000p-1f, 0x1.555556p-3f, 0x1.000000p-2f,
    0, -0x1.555556p-8f, -0x1.555556p-1f, -0x1.000000p+0f,
    -0x1.555556p-2f, -0x1.000000p-1f, -0x1.555556p-3f, -0x1.000000p-2f};

const float graft_fp4_threshold[8] = {
    0x1.555556p-9f, 0x1.600000p-4f, 0x1.aaaaaap-3f, 0x1.2aaaaap-2f,
    0x1.aaaaaap-2f, 0x1.2aaaaap-1f, 0x1.aaaaaap-1f, INFINITY};

const uint8_t graft_fp4_nibble[8] = {
    0, 1, 6, 7, 4, 5, 2, 3};

const float *graft_code_4bit(int32_t kind) {
  return kind == GRAFT_NF4 ? graft_nf4_code : graft_fp4_code;
}
