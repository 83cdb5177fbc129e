// SPDX-License-Identifier: LGPL-2.1-or-later
// The functions of kernels/cuda_module.h work on the host's memory in programs that link cuda_kernels_on_host.cpp.
#pragma once

#include "cuda_module.h"

// The order in which the threads of a block take turns.
void run_threads_backwards(bool backwards);

// For tests of the stand-in itself.
int launch_threads_that_wait_apart();
int launch_taking_from_next(int* numbers, bool waits);  // [64]
