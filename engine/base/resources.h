// SPDX-License-Identifier: LGPL-2.1-or-later
// Processors and memory that this process may use, by its affinity and its control groups.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace flowcache {

// Every call reads the kernel's files under `root`, which is "/" except in tests. Control groups of versions
// 1 and 2 count, the process's own group and all above it. A missing file means no limit. Any thread; no
// errors but those named.

// Number of processors that the calling thread may keep busy, at least 1: those of its affinity (taskset,
// CPUAffinity=, cpusets), or fewer if the quota of a control group is lower (rounded up).
unsigned allowed_cpus(const std::filesystem::path& root = "/");

// The quota alone, in processors: 1.5 if 150 ms may be used in every 100 ms. Nothing if there is no quota.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

// Bytes that this process may still allocate: MemAvailable, or less if its control groups leave less. Page
// cache that a group is charged for counts as free, because the kernel gives it back when memory is needed.
uint64_t free_host_memory(const std::filesystem::path& root = "/");

// Returns `threads`, or allowed_cpus() for 0. Throws FC_ERROR_ARGUMENT if `threads` is larger than
// allowed_cpus().
unsigned checked_threads(uint32_t threads, const std::filesystem::path& root = "/");

// Gives memory that was freed and that the allocator keeps back to the system, where its library can (glibc). Reading a
// model frees large pieces between those that stay, and these do not go by themselves.
void return_freed_memory();

}  // namespace flowcache
