/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CUDA graphs: work that was noted once and is given to the GPU again in one piece. LibTorch's class for them is in its
 * CUDA half, which the engine does not link. So this code is in a module of its own, libflowcache-graphs-cuda.so, which is
 * built where LibTorch has that half and opened when a stream wants graphs.
 */
#ifndef FLOWCACHE_CUDA_GRAPH_H
#define FLOWCACHE_CUDA_GRAPH_H

#include <stddef.h>
#include <stdint.h>

#define FC_CUDA_GRAPHS_MODULE "libflowcache-graphs-cuda.so"

/* Each returns 0, or 1 with a sentence in `error`. All calls come from one thread, with the same stream of LibTorch's as
 * current, not the default one.
 * begin: from here on the calling thread's work on its current stream is noted and not run. pool: of the memory that it
 *        allocates; {0, 0} makes a new one, whose name is stored there. Graphs may share one if their results are not
 *        needed any more when another of them runs. *graph is to be freed also if begin or end fails.
 * end:   ends noting.
 * run:   gives the noted work to the current stream. */
typedef struct {
  int (*begin)(uint64_t pool[2], void** graph, char* error, size_t room);
  int (*end)(void* graph, char* error, size_t room);
  int (*run)(void* graph, char* error, size_t room);
  void (*free)(void* graph);
} fc_cuda_graph_functions;

typedef const fc_cuda_graph_functions* (*fc_cuda_graphs_function)(void);

#endif
