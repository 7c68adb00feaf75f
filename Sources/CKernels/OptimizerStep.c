// Steps of optimisers over blocks, with states in float32 or in codes of 8 bits.
#include <string.h>

#include "Conversion.h"
#include "OptimizerRules.h"

// One block of a parameter with its states as float32: the memory itself where it is that already,
// else a buffer.
typedef struct {
  int64_t start, length;
  float *w, *a, *b, *v;
  const float *g;
} opened_block;

typedef struct {
  float w[GRAFT_LARGEST_OPTIMIZER_BLOCK], g[GRAFT_LARGEST_OPTIMIZER_BLOCK];
  float a[GRAFT_LARGEST_OPTIMIZER_BLOCK], b[GRAFT_LARGEST_OPTIMIZER_BLOCK];
  float v[GRAFT_LARGEST_OPTIMIZER_BLOCK];
} block_buffers;

static float *open_state(const graft_optimizer_state *state, int64_t block, int64_t start,
                         int64_t length, float *buffer) {
  if (!state->values) return buffer;
  if (!state->search) return (float *)state->values + start;
  if (state->absmax[block] == 0) {
    memset(buffer, 0, (size_t)length * sizeof(float));
  } else {
    graft_dequantize_blockwise(state->search->code, (const uint8_t *)state->values + start,
                               state->absmax + block, length, length, 0, 1, GRAFT_FLOAT32, buffer);
  }
  return buffer;
}

static void close_state(const graft_optimizer_state *state, int64_t block, int64_t start,
                        int64_t length, const float *buffer) {
  if (!state->values || !state->search) return;
  graft_quantize_blockwise(state->search, buffer, GRAFT_FLOAT32, length, length, 0, 1,
                           (uint8_t *)state->values + start, state->absmax + block);
}

static opened_block open_block(const graft_optimized *tensors, int64_t block,
                               block_buffers *buffers) {
  int64_t start = block * tensors->block_size, rest = tensors->count - start;
  int64_t length = rest < tensors->block_size ? rest : tensors->block_size;
  opened_block opened = {.start = start, .length = length};
  if (tensors->parameter_type == GRAFT_FLOAT32) {
    opened.w = (float *)tensors->parameter + start;
  } else {
    graft_load(tensors->parameter, tensors->parameter_type, start, length, buffers->w);
    opened.w = buffers->w;
  }
  opened.g = graft_load(tensors->gradient, tensors->gradient_type, start, length, buffers->g);
  opened.a = open_state(&tensors->state1, block, start, length, buffers->a);
  opened.b = open_state(&tensors->slow, block, start, length, buffers->b);
  opened.v = open_state(&tensors->state2, block, start, length, buffers->v);
  return opened;
}

void graft_optimizer_update(const graft_optimizer_step *step, const graft_optimized *tensors,
                            int64_t first, int64_t end) {
  graft_rule rule = graft_find_rule(step->rule, tensors->state1.search != NULL);
  block_buffers buffers;
  for (int64_t block = first; block < end; ++block) {
    opened_block x = open_block(tensors, block, &buffers);
    rule(step, x.w, x.g, x.a, x.b, x.v, x.length);
    graft_store(x.w, tensors->parameter_type, x.start, x.length, tensors->parameter);
    close_state(&tensors->state1, block, x.start, x.length, x.a);
    close_state(&tensors->slow, block, x.start, x.length, x.b);
    close_state(&tensors->state2, block, x.start, x.length, x.v);
  }
}

void graft_optimizer_norms(const graft_optimizer_step *step, const graft_optimized *tensors,
                           int64_t first, int64_t end, double *sums) {
  graft_rule_norms norms = graft_find_rule_norms(step->rule, tensors->state1.search != NULL);
  block_buffers buffers;
  for (int64_t block = first; block < end; ++block) {
    opened_block x = open_block(tensors, block, &buffers);
    sums[2 * block] = sums[2 * block + 1] = 0;
    norms(step, x.w, x.g, x.a, x.v, x.length, sums + 2 * block);
  }
}
