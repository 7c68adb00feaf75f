// One loop, compiled for each instruction set.
//
// GRAFT_VARIANTS(name, (parameters), (arguments)) makes `name`, which runs `name_body`, an
// always_inline function, as the compiler vectorises it for the best set that may be used.
#ifndef GRAFT_VECTOR_VARIANTS_H
#define GRAFT_VECTOR_VARIANTS_H

#include "InstructionSet.h"
#include "VectorMath.h"

// Before a loop whose arrays may be the same one, but only element by element: without it the compiler
// fears that they overlap.
#ifdef __clang__
#define GRAFT_SAME_PLACES _Pragma("clang loop vectorize(assume_safety)")
#else
#define GRAFT_SAME_PLACES
#endif

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

// GRAFT_TILED_VARIANTS(name, body, (parameters), (arguments)) is the same for a body whose last
// arguments are the height and width, in vectors of 16, of the tiles that fit a set's registers.
#define GRAFT_ARGUMENTS(...) __VA_ARGS__
#ifdef GRAFT_X86
#define GRAFT_TILED_VARIANTS(name, body, parameters, arguments)                                     \
  TARGET_AVX512 static void name##_avx512 parameters { body(GRAFT_ARGUMENTS arguments, 6, 4); }     \
  TARGET_AVX2 static void name##_avx2 parameters { body(GRAFT_ARGUMENTS arguments, 6, 1); }         \
  static void name##_plain parameters { body(GRAFT_ARGUMENTS arguments, 2, 1); }                    \
  void name parameters {                                                                            \
    int32_t set = graft_instruction_set();                                                          \
    if (set >= GRAFT_AVX512) name##_avx512 arguments;                                               \
    else if (set >= GRAFT_AVX2) name##_avx2 arguments;                                              \
    else name##_plain arguments;                                                                    \
  }
#else
#define GRAFT_TILED_VARIANTS(name, body, parameters, arguments) \
  void name parameters { body(GRAFT_ARGUMENTS arguments, 4, 1); }
#endif

#endif
