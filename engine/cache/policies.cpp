// SPDX-License-Identifier: LGPL-2.1-or-later
// The policies that there are, in the order in which they are listed to users, and other names for them.
#include "cache/registry.h"

namespace flowcache {

// Each policy's file defines its entry; the lists below name them.
namespace reuse {
PolicyEntry<ReusePolicy> none(), flowcache(), teacache(), teacache_joint(), easycache(), magcache(), scm(),
    interval(), taylorseer(), forecast(), ramp(), automatic(), dbcache(), xchunk(), mixcache(), attention();
}
namespace guidance {
PolicyEntry<GuidancePolicy> cfg_cache();
}
namespace kv {
PolicyEntry<KvPolicy> window(), flowcache(), full(), packcache(), ca2(), decoprune();
}

std::span<const PolicyEntry<ReusePolicy>> reuse_policies() {
  static const std::vector<PolicyEntry<ReusePolicy>> all = {
      reuse::flowcache(),  reuse::none(),     reuse::teacache(), reuse::teacache_joint(),
      reuse::easycache(),  reuse::magcache(), reuse::scm(),      reuse::interval(),
      reuse::taylorseer(), reuse::forecast(), reuse::ramp(),     reuse::automatic(),
      reuse::dbcache(),    reuse::xchunk(),   reuse::mixcache(), reuse::attention(),
  };
  return all;
}

std::span<const PolicyEntry<KvPolicy>> kv_policies() {
  static const std::vector<PolicyEntry<KvPolicy>> all = {
      kv::flowcache(), kv::window(), kv::full(), kv::packcache(), kv::ca2(), kv::decoprune(),
  };
  return all;
}

std::span<const PolicyEntry<GuidancePolicy>> guidance_policies() {
  static const std::vector<PolicyEntry<GuidancePolicy>> all = {guidance::cfg_cache()};
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
