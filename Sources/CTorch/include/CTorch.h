// CTorch: LibTorch behind a small C interface.
//
// Rules of this header
// - Every function that can fail returns a ctorch_status; 0 is success. After a failure
//   ctorch_last_error() holds LibTorch's message (per thread, until the next failure).
// - No exception and no C++ type crosses. A ctorch_tensor is an owned handle: whoever receives one
//   releases it once. Handles passed in are borrowed.
// - LibTorch's operators are not declared one by one: ctorch_call reaches each of them by the name
//   and overload of its schema (for example "aten::add", "Tensor").
#ifndef CTORCH_H
#define CTORCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t ctorch_status;
typedef struct ctorch_tensor_object *ctorch_tensor;
typedef struct ctorch_generator_object *ctorch_generator;
typedef const struct ctorch_operator_object *ctorch_operator;

const char *_Nonnull ctorch_last_error(void);

// ---- Operators -----------------------------------------------------------------------------

// What a ctorch_value holds. Lists live in `pointer` with `count` elements.
enum {
  CTORCH_NONE = 0,
  CTORCH_TENSOR = 1,        // pointer: ctorch_tensor (null: an undefined tensor)
  CTORCH_INT = 2,           // integer; also dtype, layout and memory format codes
  CTORCH_DOUBLE = 3,        // real
  CTORCH_BOOL = 4,          // integer 0 or 1
  CTORCH_STRING = 5,        // pointer: NUL-terminated UTF-8
  CTORCH_INT_LIST = 6,      // pointer: int64_t[count]
  CTORCH_DOUBLE_LIST = 7,   // pointer: double[count]
  CTORCH_TENSOR_LIST = 8,   // pointer: ctorch_tensor[count]
  CTORCH_OPTIONAL_TENSOR_LIST = 9,  // pointer: ctorch_tensor[count], null for none
  CTORCH_DEVICE = 10,       // integer: device type << 8 | (index + 1)
  CTORCH_GENERATOR = 11,    // pointer: ctorch_generator
  CTORCH_BOOL_LIST = 12,    // pointer: uint8_t[count]
  CTORCH_OPTIONAL_NUMBER_LIST = 13  // pointer: double[count]
};

typedef struct {
  int32_t tag;
  int32_t count;
  union {
    int64_t integer;
    double real;
    const void *_Nullable pointer;
  };
} ctorch_value;

// Finds an operator once; the handle lives as long as the process.
ctorch_status ctorch_find_operator(const char *_Nonnull name, const char *_Nonnull overload,
                                   ctorch_operator _Nullable *_Nonnull result);

// Calls an operator with positional arguments in schema order (keyword-only ones included); those
// left out at the end take the schema's defaults. Each tensor that is returned is an owned handle;
// tensors of returned lists are appended one after another. `*output_count` holds the room in
// `outputs` on entry and the number written on return.
ctorch_status ctorch_call(ctorch_operator _Nonnull operation,
                          const ctorch_value *_Nullable arguments, int32_t argument_count,
                          ctorch_value *_Nonnull outputs, int32_t *_Nonnull output_count);

// ---- Tensors -------------------------------------------------------------------------------

void ctorch_release(ctorch_tensor _Nonnull tensor);
// A second handle to the same tensor.
ctorch_tensor _Nonnull ctorch_retain(ctorch_tensor _Nonnull tensor);
int32_t ctorch_dim(ctorch_tensor _Nonnull tensor);
void ctorch_sizes(ctorch_tensor _Nonnull tensor, int64_t *_Nonnull sizes);
void ctorch_strides(ctorch_tensor _Nonnull tensor, int64_t *_Nonnull strides);
int64_t ctorch_element_count(ctorch_tensor _Nonnull tensor);
int32_t ctorch_dtype(ctorch_tensor _Nonnull tensor);
int32_t ctorch_device(ctorch_tensor _Nonnull tensor);  // as in CTORCH_DEVICE
bool ctorch_is_contiguous(ctorch_tensor _Nonnull tensor);
// Start of the elements in CPU memory, or an error for a tensor that is not there.
ctorch_status ctorch_cpu_data(ctorch_tensor _Nonnull tensor, void *_Nullable *_Nonnull data);
bool ctorch_shares_storage(ctorch_tensor _Nonnull left, ctorch_tensor _Nonnull right);

// A tensor over memory that the caller owns; `release(context)` is called when its storage dies.
ctorch_status ctorch_from_memory(void *_Nonnull data, const int64_t *_Nonnull sizes,
                                 int32_t dimensions, int32_t dtype, void *_Nullable context,
                                 void (*_Nullable release)(void *_Nullable context),
                                 ctorch_tensor _Nullable *_Nonnull result);

// ---- Autograd ------------------------------------------------------------------------------

bool ctorch_gradient_mode(void);
void ctorch_set_gradient_mode(bool enabled);
bool ctorch_requires_gradient(ctorch_tensor _Nonnull tensor);
ctorch_status ctorch_set_requires_gradient(ctorch_tensor _Nonnull tensor, bool value);
bool ctorch_is_leaf(ctorch_tensor _Nonnull tensor);
// The accumulated gradient, or null.
ctorch_tensor _Nullable ctorch_gradient(ctorch_tensor _Nonnull tensor);
ctorch_status ctorch_set_gradient(ctorch_tensor _Nonnull tensor, ctorch_tensor _Nullable gradient);
ctorch_status ctorch_backward(const ctorch_tensor _Nonnull *_Nonnull roots,
                              const ctorch_tensor _Nullable *_Nonnull gradients, int32_t count,
                              bool keep_graph);
// Gradients of `outputs` with respect to `inputs`; null where an input was not used.
ctorch_status ctorch_gradients(const ctorch_tensor _Nonnull *_Nonnull outputs,
                               const ctorch_tensor _Nullable *_Nonnull output_gradients,
                               int32_t output_count, const ctorch_tensor _Nonnull *_Nonnull inputs,
                               int32_t input_count, bool keep_graph, bool create_graph,
                               ctorch_tensor _Nullable *_Nonnull results);

// The backward half of a differentiable function written by the caller. `gradients[i]` is borrowed
// and null where output i got none; `results[i]` are owned handles or null, one for each input.
// Returns 0, or non-zero after ctorch_set_error.
typedef ctorch_status (*ctorch_pullback)(void *_Nonnull context,
                                         const ctorch_tensor _Nullable *_Nonnull gradients,
                                         int32_t gradient_count,
                                         ctorch_tensor _Nullable *_Nonnull results,
                                         int32_t result_count);

// Puts a node into the autograd graph: `outputs` (computed without gradients from `inputs`) become
// functions of `inputs` whose derivative is `pullback`. `results` are new handles that share the
// outputs' memory. `release(context)` runs when the graph no longer needs the pullback.
ctorch_status ctorch_attach_pullback(const char *_Nonnull name,
                                     const ctorch_tensor _Nonnull *_Nonnull inputs,
                                     int32_t input_count,
                                     const ctorch_tensor _Nonnull *_Nonnull outputs,
                                     int32_t output_count, ctorch_pullback _Nonnull pullback,
                                     void *_Nonnull context,
                                     void (*_Nonnull release)(void *_Nonnull context),
                                     ctorch_tensor _Nullable *_Nonnull results);
void ctorch_set_error(const char *_Nonnull message);

// ---- Random generators ---------------------------------------------------------------------

ctorch_status ctorch_generator_create(uint64_t seed, int32_t device,
                                      ctorch_generator _Nullable *_Nonnull result);
// A handle to the device's default generator.
ctorch_status ctorch_generator_default(int32_t device,
                                       ctorch_generator _Nullable *_Nonnull result);
void ctorch_generator_release(ctorch_generator _Nonnull generator);
ctorch_status ctorch_generator_seed(ctorch_generator _Nonnull generator, uint64_t seed);
// The state as a byte tensor.
ctorch_status ctorch_generator_state(ctorch_generator _Nonnull generator,
                                     ctorch_tensor _Nullable *_Nonnull state);
ctorch_status ctorch_generator_set_state(ctorch_generator _Nonnull generator,
                                         ctorch_tensor _Nonnull state);

// ---- Recordings ----------------------------------------------------------------------------

typedef struct ctorch_recording_object *ctorch_recording;

// What an event of a recording is.
enum {
  CTORCH_EVENT_PHASE = 0,     // a part of the program, named by the caller
  CTORCH_EVENT_LAYER = 1,     // a part of a model, named by the caller
  CTORCH_EVENT_FUNCTION = 2,  // the forward half of a function with a pullback
  CTORCH_EVENT_KERNEL = 3,    // code that is not LibTorch's
  CTORCH_EVENT_OPERATOR = 4,  // an operator of LibTorch
  CTORCH_EVENT_NODE = 5,      // a node of the autograd graph, in the backward pass
  CTORCH_EVENT_ENGINE = 6     // the autograd engine's own work around a node
};

typedef struct {
  int32_t kind;
  int32_t parent;      // the event that it is part of, or -1
  int32_t thread;      // 0: the one that the recording was started on
  int32_t size_count;
  int64_t begin, end;  // nanoseconds since the recording was started
  // Memory of tensors that was taken and given back by the event itself, not by its parts, in bytes.
  int64_t allocated, freed;
  // Bytes taken and not given back since the start: before it, after it, and the most meanwhile.
  int64_t held_before, held_after, held_most;
  int64_t node;                  // of a node: its number, or negative
  int64_t first_node, end_node;  // of others: numbers of the nodes that were made meanwhile
  int64_t operations;            // additions and multiplications, where the caller said so
  const char *_Nonnull name;
  // Of an operator: for each tensor that it got the number of dimensions, then their sizes.
  const int64_t *_Nullable sizes;
} ctorch_event;

// Records what this thread computes, and what the backward pass computes for it on others.
ctorch_status ctorch_recording_start(ctorch_recording _Nullable *_Nonnull result);
// On the same thread.
ctorch_status ctorch_recording_stop(ctorch_recording _Nonnull recording);
// After it was stopped: events in the order of their beginnings.
int64_t ctorch_recording_count(ctorch_recording _Nonnull recording);
// Its pointers are valid until the recording is released.
ctorch_event ctorch_recording_event(ctorch_recording _Nonnull recording, int64_t index);
void ctorch_recording_release(ctorch_recording _Nonnull recording);
// Whether this thread is being recorded.
bool ctorch_is_recording(void);
// An event of the caller's own; negative, and nothing, where the thread is not being recorded.
int32_t ctorch_event_begin(int32_t kind, const char *_Nonnull name, int64_t operations);
void ctorch_event_end(int32_t event);

// ---- Runtime -------------------------------------------------------------------------------

const char *_Nonnull ctorch_version(void);
int32_t ctorch_thread_count(void);
void ctorch_set_thread_count(int32_t count);
// Splits begin ..< end into ranges of at least `grain` and calls `body` with each, on LibTorch's own
// threads; returns when all are done.
void ctorch_parallel_for(int64_t begin, int64_t end, int64_t grain, void *_Nonnull context,
                         void (*_Nonnull body)(void *_Nonnull context, int64_t begin, int64_t end));
// Hands the memory that tensors on the processor gave back, and that waits for the next ones, to the system;
// returns its bytes.
int64_t ctorch_release_free_memory(void);
bool ctorch_cuda_available(void);
bool ctorch_mps_available(void);
// Makes operators raise where no deterministic kernel exists.
void ctorch_set_deterministic(bool enabled);

#ifdef __cplusplus
}
#endif

#include "Collectives.h"

#endif
