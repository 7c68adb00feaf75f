// Which variants of a kernel are compiled, and how one is chosen.
#ifndef GRAFT_INSTRUCTION_SET_H
#define GRAFT_INSTRUCTION_SET_H

#include "include/CKernels.h"

#if defined(__x86_64__)
#define GRAFT_X86 1
#include <immintrin.h>
#define TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c")))
#endif

#endif
