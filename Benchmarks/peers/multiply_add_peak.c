// How fast the processor multiplies and adds, where all numbers stay in registers: what no product of
// matrices can pass.
//
//   cc -O3 -march=native -ffp-contract=fast multiply_add_peak.c -o multiply_add_peak -lpthread
//   multiply_add_peak THREADS
//
// Prints operations a second of all threads together, two for a multiplication with its addition, in
// float32 and in bfloat16 with sums in float32 (0 where the compiler's target does not multiply that).
// Other work takes time from single bursts, which are shorter than what a system gives a process at once; each
// thread's best counts.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

// Sums that do not wait for each other, to keep the units busy while one is under way; all have to fit
// into the registers, beside two factors.
#if defined(__AVX512F__) || defined(__aarch64__)
enum { SUMS = 24 };
#else
enum { SUMS = 12 };
#endif
enum { BURSTS = 60, MOST_THREADS = 1024 };
static const double burst_seconds = 0.005;

#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float numbers __attribute__((vector_size(BYTES)));

// Compilers halve vectors of 64 bytes where they think narrower ones are faster, unless told what is used.
#if defined(__clang__) && defined(__AVX512F__)
#define WIDE __attribute__((noinline, min_vector_width(512)))
#else
#define WIDE __attribute__((noinline))
#endif

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

// `step` for all sums, until a burst is over. The sums start apart, or they would be one for the compiler.
#define BURST(step, operations)                                             \
  numbers sums[SUMS];                                                       \
  for (int i = 0; i < SUMS; ++i) sums[i] = (numbers){0} + (float)(i + *seen); \
  long rounds = 0;                                                          \
  double begin = now(), seconds = 0;                                        \
  while (seconds < burst_seconds) {                                         \
    for (int n = 0; n < 20000; ++n) {                                       \
      _Pragma("GCC unroll 24") for (int i = 0; i < SUMS; ++i) step;         \
    }                                                                       \
    rounds += 20000;                                                        \
    seconds = now() - begin;                                                \
  }                                                                         \
  for (int i = 0; i < SUMS; ++i) *seen += sums[i][0] > 1e30f;               \
  return (double)rounds * SUMS * (operations) / seconds;

WIDE static double float32_rate(int *seen) {
  const numbers factor = (numbers){0} + 0.5f, term = (numbers){0} + 1.0f;
  BURST(sums[i] = sums[i] * factor + term, 2 * BYTES / 4)
}

#ifdef __AVX512BF16__
WIDE static double bfloat16_rate(int *seen) {
  const __m512bh pairs = (__m512bh)_mm512_set1_epi32(0x3F800000);  // 1 and 0
  BURST(sums[i] = _mm512_dpbf16_ps(sums[i], pairs, pairs), 2 * BYTES / 2)
}
#else
static double bfloat16_rate(int *seen) { return 0 * *seen; }
#endif

typedef struct {
  double float32, bfloat16;
} rates;

static double larger(double a, double b) { return a > b ? a : b; }

static void *measure(void *found) {
  rates *best = found;
  int seen = 0;
  for (int burst = 0; burst < BURSTS; ++burst) {
    best->float32 = larger(best->float32, float32_rate(&seen));
    best->bfloat16 = larger(best->bfloat16, bfloat16_rate(&seen));
  }
  return NULL;
}

int main(int count, char **words) {
  int threads = count > 1 ? atoi(words[1]) : 1;
  if (threads < 1 || threads > MOST_THREADS) return 1;
  pthread_t running[MOST_THREADS];
  rates best[MOST_THREADS] = {{0, 0}}, sum = {0, 0};
  for (int i = 0; i < threads; ++i) {
    if (pthread_create(&running[i], NULL, measure, &best[i])) return 1;
  }
  for (int i = 0; i < threads; ++i) {
    pthread_join(running[i], NULL);
    sum.float32 += best[i].float32;
    sum.bfloat16 += best[i].bfloat16;
  }
  printf("{\"float32\": %.0f, \"bfloat16\": %.0f}\n", sum.float32, sum.bfloat16);
}
