// SPDX-License-Identifier: LGPL-2.1-or-later
// All policies, in the order in which they are listed to users, and other names for them.
#include "cache/registry.h"

namespace flowcache {

// The file of a policy defines a function of the name given here, in namespace reuse, guidance or kv.
#define FLOWCACHE_REUSE_POLICIES(EACH) \
  EACH(flowcache)                      \
  EACH(none)                           \
  EACH(teacache)                       \
  EACH(teacache_joint)                 \
  EACH(easycache)                      \
  EACH(magcache)                       \
  EACH(scm)                            \
  EACH(interval)                       \
  EACH(taylorseer)                     \
  EACH(forecast)                       \
  EACH(ramp)                           \
  EACH(automatic)                      \
  EACH(dbcache)                        \
  EACH(xchunk)                         \
  EACH(mixcache)                       \
  EACH(attention)
#define FLOWCACHE_GUIDANCE_POLICIES(EACH) EACH(cfg_cache)
#define FLOWCACHE_KV_POLICIES(EACH) \
  EACH(flowcache) EACH(window) EACH(full) EACH(packcache) EACH(ca2) EACH(decoprune) EACH(tokentrim)

namespace reuse {
#define DECLARE(name) PolicyEntry<ReusePolicy> name();
FLOWCACHE_REUSE_POLICIES(DECLARE)
#undef DECLARE
}  // namespace reuse
namespace guidance {
#define DECLARE(name) PolicyEntry<GuidancePolicy> name();
FLOWCACHE_GUIDANCE_POLICIES(DECLARE)
#undef DECLARE
}  // namespace guidance
namespace kv {
#define DECLARE(name) PolicyEntry<KvPolicy> name();
FLOWCACHE_KV_POLICIES(DECLARE)
#undef DECLARE
}  // namespace kv

std::span<const PolicyEntry<ReusePolicy>> reuse_policies() {
#define ENTRY(name) reuse::name(),
  static const std::vector<PolicyEntry<ReusePolicy>> all = {FLOWCACHE_REUSE_POLICIES(ENTRY)};
#undef ENTRY
  return all;
}

std::span<const PolicyEntry<GuidancePolicy>> guidance_policies() {
#define ENTRY(name) guidance::name(),
  static const std::vector<PolicyEntry<GuidancePolicy>> all = {FLOWCACHE_GUIDANCE_POLICIES(ENTRY)};
#undef ENTRY
  return all;
}

std::span<const PolicyEntry<KvPolicy>> kv_policies() {
#define ENTRY(name) kv::name(),
  static const std::vector<PolicyEntry<KvPolicy>> all = {FLOWCACHE_KV_POLICIES(ENTRY)};
#undef ENTRY
  return all;
}

std::span<const PolicyAlias> reuse_aliases() {
  static constexpr PolicyAlias all[] = {
      {"fastercache", "attention+cfg_cache", "FasterCache, arXiv 2410.19355"},
      {"lightcache", "interval", "LightCache, arXiv 2510.05367; its swapping is +offload"},
      {"fbcache", "dbcache:first_blocks=1", "first-block cache, ParaAttention"},
      {"first_block_cache", "dbcache:first_blocks=1", "first-block cache, ParaAttention"},
      {"xcache", "xchunk", "X-Cache, arXiv 2604.20289"},
  };
  return all;
}

std::span<const PolicyAlias> kv_aliases() {
  static constexpr PolicyAlias all[] = {
      {"ca2vdm", "ca2", "Ca2-VDM, arXiv 2411.16375"},
      {"rolling", "window", "Self-Forcing, arXiv 2506.08009"},
      {"longlive", "window:sink_frames=3", "LongLive, arXiv 2509.22622"},
  };
  return all;
}

}  // namespace flowcache
