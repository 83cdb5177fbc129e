// SPDX-License-Identifier: LGPL-2.1-or-later
// Processors and memory of a process, from kernel files that the tests write.
#include "base/resources.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "base/error.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

// A root folder with /proc and /sys/fs/cgroup.
class Kernel : public testing::Test {
 protected:
  void file(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root.path / name).parent_path());
    root.write(name, text + "\n");
  }
  // A group's memory in MiB, version 2.
  void memory(const std::string& group, const std::string& limit, uint64_t used, uint64_t cache) const {
    const std::string folder = "sys/fs/cgroup/" + group;
    file(folder + "/memory.max", limit);
    file(folder + "/memory.current", std::to_string(used * mib));
    file(folder + "/memory.stat", "anon " + std::to_string((used - cache) * mib) + "\nfile " +
                                      std::to_string(cache * mib) + "\ninactive_file " +
                                      std::to_string(cache / 2 * mib) + "\nactive_file " +
                                      std::to_string(cache / 4 * mib) + "\nslab_reclaimable " +
                                      std::to_string((cache - cache / 2 - cache / 4) * mib));
  }
  uint64_t free_mib() const { return free_host_memory(root.path) / mib; }

  test::TempFolder root;
};

TEST_F(Kernel, MemoryWithoutControlGroupsIsWhatIsAvailable) {
  file("proc/meminfo", "MemTotal:  4194304 kB\nMemFree:  4096 kB\nMemAvailable:  3145728 kB");
  EXPECT_EQ(free_mib(), 3072u);
}

TEST_F(Kernel, PageCacheOfAGroupIsFree) {
  file("proc/self/cgroup", "0::/");
  memory("", std::to_string(4096 * mib), 4096, 3800);
  EXPECT_EQ(free_mib(), 3800u);
  memory("", std::to_string(4096 * mib), 4096, 0);
  EXPECT_EQ(free_mib(), 0u);
  memory("", std::to_string(4096 * mib), 5000, 100);  // a limit that was lowered below what is in use
  EXPECT_EQ(free_mib(), 0u);
}

TEST_F(Kernel, TheTightestGroupAboveCounts) {
  file("proc/meminfo", "MemAvailable:  10485760 kB");
  file("proc/self/cgroup", "0::/a/b");
  memory("a/b", "max", 300, 0);
  memory("a", std::to_string(2048 * mib), 1000, 500);
  memory("", std::to_string(4096 * mib), 1000, 500);
  EXPECT_EQ(free_mib(), 2048u - 500u);
  file("sys/fs/cgroup/a/b/memory.high", std::to_string(400 * mib));
  EXPECT_EQ(free_mib(), 100u);
}

TEST_F(Kernel, InAContainerThePathMayBeTheHosts) {
  file("proc/self/cgroup", "0::/system.slice/docker-1.scope");
  memory("", std::to_string(1024 * mib), 512, 256);
  EXPECT_EQ(free_mib(), 768u);
  file("proc/self/cgroup", "0::/../other");
  EXPECT_EQ(free_mib(), 768u);
}

TEST_F(Kernel, VersionOneCountsTheGroupsBelow) {
  file("proc/meminfo", "MemAvailable:  10485760 kB");
  file("proc/self/cgroup", "9:name=systemd:/x\n4:memory:/job\n0::/");
  const std::string group = "sys/fs/cgroup/memory/job/";
  file(group + "memory.limit_in_bytes", std::to_string(1024 * mib));
  file(group + "memory.usage_in_bytes", std::to_string(1000 * mib));
  file(group + "memory.stat", "inactive_file 0\nactive_file 0\ntotal_inactive_file " +
                                  std::to_string(700 * mib) + "\ntotal_active_file " +
                                  std::to_string(200 * mib));
  EXPECT_EQ(free_mib(), 924u);
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");  // no limit
  file("sys/fs/cgroup/memory/memory.usage_in_bytes", "0");
  EXPECT_EQ(free_mib(), 924u);
}

TEST_F(Kernel, VersionTwoBesideVersionOneIsInAFolderOfItsOwn) {
  file("proc/meminfo", "MemAvailable:  1048576 kB");
  file("proc/self/cgroup", "4:memory:/\n0::/job");
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  memory("unified/job", std::to_string(64 * mib), 32, 0);
  EXPECT_EQ(free_mib(), 32u);
}

TEST_F(Kernel, QuotaOfProcessorTime) {
  EXPECT_FALSE(cpu_quota(root.path));
  file("proc/self/cgroup", "0::/a/b");
  file("sys/fs/cgroup/a/b/cpu.max", "max 100000");
  EXPECT_FALSE(cpu_quota(root.path));
  file("sys/fs/cgroup/a/b/cpu.max", "450000 100000");
  EXPECT_DOUBLE_EQ(cpu_quota(root.path).value(), 4.5);
  file("sys/fs/cgroup/a/cpu.max", "50000 200000");
  EXPECT_DOUBLE_EQ(cpu_quota(root.path).value(), 0.25);
  EXPECT_EQ(allowed_cpus(root.path), 1u);
}

TEST_F(Kernel, QuotaOfVersionOne) {
  file("proc/self/cgroup", "3:cpuset:/c\n2:cpu,cpuacct:/job");
  file("sys/fs/cgroup/cpuset/c/cpu.cfs_quota_us", "1");  // not the controller's
  file("sys/fs/cgroup/cpuset/c/cpu.cfs_period_us", "100000");
  const std::string group = "sys/fs/cgroup/cpu,cpuacct/job/";
  file(group + "cpu.cfs_quota_us", "-1");
  file(group + "cpu.cfs_period_us", "100000");
  EXPECT_FALSE(cpu_quota(root.path));
  file(group + "cpu.cfs_quota_us", "100000");
  EXPECT_EQ(allowed_cpus(root.path), 1u);
  EXPECT_DOUBLE_EQ(cpu_quota(root.path).value(), 1);
}

TEST_F(Kernel, AffinityOfTheThread) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  EXPECT_EQ(allowed_cpus(root.path), static_cast<unsigned>(CPU_COUNT(&all)));
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
      if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(allowed_cpus(root.path), 1u);
  }).join();
}

TEST_F(Kernel, MoreThreadsThanAllowedAreRefused) {
  file("proc/self/cgroup", "0::/");
  file("sys/fs/cgroup/cpu.max", "100000 100000");
  EXPECT_EQ(checked_threads(0, root.path), 1u);
  EXPECT_EQ(checked_threads(1, root.path), 1u);
  try {
    checked_threads(2, root.path);
    ADD_FAILURE() << "two threads where a quota allows one";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    for (const char* part : {"threads=2", "more than the 1", "threads=0"})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace flowcache
