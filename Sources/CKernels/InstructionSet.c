#include "InstructionSet.h"

#include <stdatomic.h>

int32_t graft_best_instruction_set(void) {
#ifdef GRAFT_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    return GRAFT_AVX512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return GRAFT_AVX2;
#endif
  return GRAFT_SCALAR;
}

static _Atomic int32_t chosen = -1;

int32_t graft_instruction_set(void) {
  int32_t set = atomic_load_explicit(&chosen, memory_order_relaxed);
  if (set < 0) {
    set = graft_best_instruction_set();
    atomic_store_explicit(&chosen, set, memory_order_relaxed);
  }
  return set;
}

void graft_set_instruction_set(int32_t set) {
  int32_t best = graft_best_instruction_set();
  atomic_store_explicit(&chosen, set < 0 || set > best ? best : set, memory_order_relaxed);
}

void graft_pause(void) {
#if defined(GRAFT_X86)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

bool graft_has_bfloat16_product(void) {
#ifdef GRAFT_X86
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16");
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  return true;
#else
  return false;
#endif
}
