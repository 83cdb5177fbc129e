// SPDX-License-Identifier: LGPL-2.1-or-later
// What the operating system lets this process use: processors and memory, by its affinity and its control
// groups.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace flowcache {

// All of them read the kernel's files under `root` at every call ("/" but in tests). Control groups of
// version 1 and 2, the process's own and all above it. Any thread; no errors: a file that is not there is no
// limit.

// Processors that the calling thread may keep busy, at least 1: those of its affinity (taskset, CPUAffinity=,
// cpusets), or fewer where a control group's quota of processor time is less, rounded up.
unsigned allowed_cpus(const std::filesystem::path& root = "/");

// Processors of the quota alone: 1.5 where 150 ms may be used in every 100. Nothing without a quota.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

// Bytes that this process may still take: the least of MemAvailable and what its control groups leave. Page
// cache that a group is charged for counts as free: the kernel gives it back when memory is asked for.
uint64_t free_host_memory(const std::filesystem::path& root = "/");

// threads, or allowed_cpus() for 0. FC_ERROR_ARGUMENT for more than those.
unsigned checked_threads(uint32_t threads, const std::filesystem::path& root = "/");

}  // namespace flowcache
