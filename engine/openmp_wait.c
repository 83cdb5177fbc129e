/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells OpenMP's threads to sleep instead of spin when they wait for each other.
 *
 * LibTorch splits every operator over OpenMP threads. By default those burn their core at each barrier, which is fine for
 * a program that has the machine to itself and ruinous for a live source that shares two cores with a video encoder:
 * chunks then take up to ten times as long. libgomp reads its environment once, when it is loaded, so this must come
 * first: the library is linked with -z initfirst, which is why it is one of its own and needs nothing.
 * What the user has set wins.
 */
#define _POSIX_C_SOURCE 200112L
#include "openmp_wait.h"

#include <stdlib.h>

static const char* policy = "as it was";

__attribute__((constructor)) static void sleep_at_barriers(void) {
  if (getenv("GOMP_SPINCOUNT") || setenv("OMP_WAIT_POLICY", "PASSIVE", 0) != 0) return;
  /* Kept here: at program start libc forgets what was set before main(). */
  const char* set = getenv("OMP_WAIT_POLICY");
  policy = set[0] == 'P' || set[0] == 'p' ? "passive" : "active";
}

const char* flowcache_openmp_wait_policy(void) { return policy; }
