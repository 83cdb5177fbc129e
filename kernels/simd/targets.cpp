// SPDX-License-Identifier: LGPL-2.1-or-later
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/targets.cpp"
#include "simd/targets-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowcache::simd::HWY_NAMESPACE {
namespace {
int64_t own_target() {
  return HWY_TARGET;
}
}  // namespace
}  // namespace flowcache::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "cpu_isa.h"

namespace flowcache::simd {

HWY_EXPORT(own_target);

namespace {

int64_t disabled_targets(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::baseline:
      return HWY_AVX2 | HWY_AVX3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128;
    case CpuIsa::avx2:
      return HWY_AVX3;
    case CpuIsa::avx512:
    case CpuIsa::avx512bf16:
    case CpuIsa::amx:
    case CpuIsa::sve:
      return 0;
  }
  return 0;
}

bool cap() {
  hwy::DisableTargets(disabled_targets(allowed_isa()));
  return true;
}

}  // namespace

void choose_target() {
  static const bool capped = cap();
  (void)capped;
}

std::string target_name() {
  return hwy::TargetName(FC_DISPATCH(own_target)());
}

std::vector<std::string> runnable_targets() {
  choose_target();
  hwy::SetSupportedTargetsForTest(0);
  std::vector<std::string> names;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets())
    names.emplace_back(hwy::TargetName(target));
  return names;
}

void force_target(const std::string& name) {
  choose_target();
  hwy::SetSupportedTargetsForTest(0);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets())
    if (name == hwy::TargetName(target)) hwy::SetSupportedTargetsForTest(target);
}

}  // namespace flowcache::simd
#endif
