// Rendezvous and collective operations between processes: LibTorch's c10d behind C. Included by
// CTorch.h, whose rules about handles and statuses hold here too.
#ifndef CTORCH_COLLECTIVES_H
#define CTORCH_COLLECTIVES_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ctorch_store_object *ctorch_store;
typedef struct ctorch_group_object *ctorch_group;
typedef struct ctorch_work_object *ctorch_work;

// Whether the groups below can be made: Gloo's headers were there when this was compiled.
bool ctorch_has_gloo(void);

// ---- Store: keys and values that all processes of a run see ----------------------------------

// Connects to the store at host:port, or opens one there (port 0: any that is free). `timeout` is how
// long a connection, and later each wait for a key, may take, in milliseconds.
ctorch_status ctorch_store_open(const char *_Nonnull host, int32_t port, bool is_server,
                                int64_t timeout, ctorch_store _Nullable *_Nonnull result);
void ctorch_store_release(ctorch_store _Nonnull store);
int32_t ctorch_store_port(ctorch_store _Nonnull store);
ctorch_status ctorch_store_set(ctorch_store _Nonnull store, const char *_Nonnull key,
                               const void *_Nullable bytes, int64_t count);
// Waits for the key. `receive(context, bytes, count)` is called once with the value.
ctorch_status ctorch_store_get(ctorch_store _Nonnull store, const char *_Nonnull key,
                               void *_Nonnull context,
                               void (*_Nonnull receive)(void *_Nonnull context,
                                                        const void *_Nullable bytes,
                                                        int64_t count));
ctorch_status ctorch_store_has(ctorch_store _Nonnull store, const char *_Nonnull key,
                               bool *_Nonnull result);
// Adds to a counter that begins at zero; `result` is the sum.
ctorch_status ctorch_store_add(ctorch_store _Nonnull store, const char *_Nonnull key, int64_t amount,
                               int64_t *_Nonnull result);

// ---- Groups ----------------------------------------------------------------------------------

// Connects all processes with each other by Gloo; every one has to call it. Keys begin with `prefix`.
// `address` is a local address to listen at, or the name of an interface where `is_interface`.
ctorch_status ctorch_group_gloo(ctorch_store _Nonnull store, const char *_Nonnull prefix,
                                int32_t rank, int32_t size, const char *_Nonnull address,
                                bool is_interface, int64_t timeout,
                                ctorch_group _Nullable *_Nonnull result);
// Waits for operations that are not done; a group with such ones is better never released.
void ctorch_group_release(ctorch_group _Nonnull group);

enum { CTORCH_SUM = 0, CTORCH_MAX = 1, CTORCH_MIN = 2 };

// Each of these starts an operation on contiguous tensors; the tensors are kept alive by the work.
ctorch_status ctorch_group_all_reduce(ctorch_group _Nonnull group, ctorch_tensor _Nonnull tensor,
                                      int32_t operation, ctorch_work _Nullable *_Nonnull work);
ctorch_status ctorch_group_broadcast(ctorch_group _Nonnull group, ctorch_tensor _Nonnull tensor,
                                     int32_t root, ctorch_work _Nullable *_Nonnull work);
// `output` has one part of the size of `input` for each rank.
ctorch_status ctorch_group_all_gather(ctorch_group _Nonnull group, ctorch_tensor _Nonnull output,
                                      ctorch_tensor _Nonnull input,
                                      ctorch_work _Nullable *_Nonnull work);
ctorch_status ctorch_group_reduce_scatter(ctorch_group _Nonnull group,
                                          ctorch_tensor _Nonnull output,
                                          ctorch_tensor _Nonnull input,
                                          ctorch_work _Nullable *_Nonnull work);
// Part r of `input` goes to rank r; both have one part for each rank.
ctorch_status ctorch_group_all_to_all(ctorch_group _Nonnull group, ctorch_tensor _Nonnull output,
                                      ctorch_tensor _Nonnull input,
                                      ctorch_work _Nullable *_Nonnull work);
// Waits at most `timeout` milliseconds; an error is the operation's own.
ctorch_status ctorch_work_wait(ctorch_work _Nonnull work, int64_t timeout, bool *_Nonnull is_done);
void ctorch_work_release(ctorch_work _Nonnull work);

#ifdef __cplusplus
}
#endif
#endif
