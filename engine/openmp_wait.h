/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef FLOWCACHE_OPENMP_WAIT_H
#define FLOWCACHE_OPENMP_WAIT_H

#ifdef __cplusplus
extern "C" {
#endif

/* How OpenMP's threads wait, for the log. Referring to it is what loads the library before LibTorch. */
__attribute__((visibility("default"))) const char* flowcache_openmp_wait_policy(void);

#ifdef __cplusplus
}
#endif
#endif
