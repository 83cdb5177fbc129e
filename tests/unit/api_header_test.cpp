// SPDX-License-Identifier: LGPL-2.1-or-later
// The contents of flowcache.h alone: initialisers and version macros.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "flowcache.h"

namespace {

template <class Struct>
bool is_default(const Struct& s) {
  Struct wanted;
  std::memset(&wanted, 0, sizeof wanted);
  wanted.size = sizeof wanted;
  return std::memcmp(&s, &wanted, sizeof s) == 0;
}

TEST(ApiHeader, InitialisersReturnTheDefaultWithItsSize) {
  EXPECT_TRUE(is_default(fc_cpu_info_init()));
  EXPECT_TRUE(is_default(fc_model_info_init()));
  EXPECT_TRUE(is_default(fc_policy_info_init()));
  EXPECT_TRUE(is_default(fc_engine_config_init()));
  EXPECT_TRUE(is_default(fc_stream_config_init()));
  EXPECT_TRUE(is_default(fc_prompt_change_init()));
  EXPECT_TRUE(is_default(fc_stream_stats_init()));
  EXPECT_TRUE(is_default(fc_chunk_info_init()));
  EXPECT_TRUE(is_default(fc_planes_init()));
}

TEST(ApiHeader, HeaderAndLibraryAreOfOneVersion) {
  const std::string header = std::to_string(FC_VERSION_MAJOR) + "." + std::to_string(FC_VERSION_MINOR) + "." +
                             std::to_string(FC_VERSION_PATCH);
  EXPECT_EQ(fc_version(), header);
  EXPECT_EQ(fc_abi_version(), static_cast<uint32_t>(FC_ABI_VERSION));
  EXPECT_TRUE(FC_CHECK_VERSION(FC_VERSION_MAJOR, FC_VERSION_MINOR, FC_VERSION_PATCH));
  EXPECT_FALSE(FC_CHECK_VERSION(FC_VERSION_MAJOR, FC_VERSION_MINOR, FC_VERSION_PATCH + 1));
  EXPECT_FALSE(FC_CHECK_VERSION(FC_VERSION_MAJOR + 1, 0, 0));
}

}  // namespace
