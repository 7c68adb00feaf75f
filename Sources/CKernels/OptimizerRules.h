// The arithmetic of the optimisers' rules on float32 buffers.
#ifndef GRAFT_OPTIMIZER_RULES_H
#define GRAFT_OPTIMIZER_RULES_H

#include "InstructionSet.h"

// Changes `count` elements of parameter and states; states that a rule does not have are ignored.
typedef void (*graft_rule)(const graft_optimizer_step *step, float *w, const float *g, float *a,
                           float *b, float *v, int64_t count);

// Adds to sums[0] and sums[1] what `graft_optimizer_norms` tells of.
typedef void (*graft_rule_norms)(const graft_optimizer_step *step, const float *w, const float *g,
                                 const float *a, const float *v, int64_t count, double *sums);

// The variant for the instruction set in use. `guards`: whether elements whose state would not be
// finite are reset.
graft_rule graft_find_rule(int32_t rule, bool guards);
graft_rule_norms graft_find_rule_norms(int32_t rule, bool guards);

#endif
