// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/resources.h"

#include <sched.h>
#ifdef __linux__
#include <malloc.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>
#include <vector>

#include "base/error.h"

namespace flowcache {
namespace {

namespace fs = std::filesystem;

// The first number in a file; nothing if the file holds "max" or -1 or does not exist.
std::optional<uint64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (!(in >> value) || value < 0) return std::nullopt;
  return static_cast<uint64_t>(value);
}

// The number after `key`, in a file with lines of the form "key number …".
std::optional<uint64_t> entry_in(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

// Calls `visit` for this process's control group of `controller` and for each group above it, with the folder
// and the version (1 or 2). In a container the kernel may give the host's path; then only those folders of it
// that exist are visited.
void for_groups(const fs::path& root, const std::string& controller,
                const std::function<void(const fs::path& folder, int version)>& visit) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && ("," + controllers + ",").find("," + controller + ",") == std::string::npos) continue;
    std::error_code ignored;
    fs::path mount = v2 ? mounts / "unified"
                        : mounts / controller;  // where version 2 is mounted if version 1 is in use, too
    if (!fs::exists(mount, ignored)) mount = v2 ? mounts : mounts / controllers;
    fs::path group = fs::path(line.substr(second + 1)).lexically_normal().relative_path();
    for (;; group = group.parent_path()) {
      visit(mount / group, v2 ? 2 : 1);
      if (group.empty()) break;
    }
  }
}

unsigned affinity_cpus() {
  for (size_t most = CPU_SETSIZE; most <= size_t{1} << 20;
       most *= 2) {  // the kernel refuses a set that is too small
    std::vector<cpu_set_t> set(most / CPU_SETSIZE);
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) == 0)
      return static_cast<unsigned>(CPU_COUNT_S(bytes, set.data()));
  }
  return std::thread::hardware_concurrency();
}

// Bytes of page cache, and of the kernel's data about files, that `group` is charged for.
uint64_t reclaimable(const fs::path& group, int version) {
  const fs::path file = group / "memory.stat";
  // In version 2 every entry includes the groups below.
  const std::string below = version == 1 ? "total_" : "";
  uint64_t bytes = 0;
  for (const char* entry : {"inactive_file", "active_file", "slab_reclaimable"})
    bytes += entry_in(file, below + entry).value_or(0);
  return bytes;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for_groups(root, "cpu", [&](const fs::path& group, int version) {
    std::optional<uint64_t> quota, period;
    if (version == 2) {
      std::ifstream in(group / "cpu.max");  // "max 100000" or "150000 100000"
      uint64_t first = 0, second = 0;
      if (in >> first >> second) quota = first, period = second;
    } else {
      quota = number_in(group / "cpu.cfs_quota_us"), period = number_in(group / "cpu.cfs_period_us");
    }
    if (!quota || !period || *quota == 0 || *period == 0) return;
    const double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
    least = std::min(least.value_or(cpus), cpus);
  });
  return least;
}

unsigned allowed_cpus(const fs::path& root) {
  const double affinity = std::max(1u, affinity_cpus());
  return static_cast<unsigned>(std::min(affinity, std::ceil(cpu_quota(root).value_or(affinity))));
}

uint64_t free_host_memory(const fs::path& root) {
  const auto kib = entry_in(root / "proc/meminfo", "MemAvailable:");
  uint64_t least = kib ? *kib * 1024 : UINT64_MAX;
  for_groups(root, "memory", [&](const fs::path& group, int version) {
    const auto used = number_in(group / (version == 2 ? "memory.current" : "memory.usage_in_bytes"));
    if (!used) return;
    const uint64_t kept = *used - std::min(*used, reclaimable(group, version));
    // A process above memory.high is slowed down so much that it hardly runs.
    for (const char* file :
         version == 2 ? std::vector{"memory.max", "memory.high"} : std::vector{"memory.limit_in_bytes"})
      if (const auto limit = number_in(group / file))
        least = std::min(least, *limit - std::min(*limit, kept));
  });
  return least;
}

unsigned checked_threads(uint32_t threads, const fs::path& root) {
  const unsigned allowed = allowed_cpus(root);
  if (threads > allowed)
    throw Error(FC_ERROR_ARGUMENT,
                "threads=" + std::to_string(threads) + " is more than the " + std::to_string(allowed) +
                    " that this process may keep busy (processors of its affinity, quota of its "
                    "control group): use threads=0 for all of them, or allow it more");
  return threads == 0 ? allowed : threads;
}

void return_freed_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace flowcache
