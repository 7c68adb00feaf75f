// One loop, compiled for each instruction set.
//
// GRAFT_VARIANTS(name, (parameters), (arguments)) makes `name`, which runs `name_body`, an
// always_inline function, as the compiler vectorises it for the best set that may be used.
#ifndef GRAFT_VECTOR_VARIANTS_H
#define GRAFT_VECTOR_VARIANTS_H

#include "InstructionSet.h"
#include "VectorMath.h"

#ifdef GRAFT_X86
#define GRAFT_VARIANTS(name, parameters, arguments)                      \
  TARGET_AVX512 static void name##_avx512 parameters { name##_body arguments; } \
  TARGET_AVX2 static void name##_avx2 parameters { name##_body arguments; }     \
  void name parameters {                                                 \
    int32_t set = graft_instruction_set();                               \
    if (set >= GRAFT_AVX512) name##_avx512 arguments;                    \
    else if (set >= GRAFT_AVX2) name##_avx2 arguments;                   \
    else name##_body arguments;                                          \
  }
#else
#define GRAFT_VARIANTS(name, parameters, arguments) \
  void name parameters { name##_body arguments; }
#endif

#endif
