// SPDX-License-Identifier: LGPL-2.1-or-later
// A build without Gloo's headers: it reads lists of devices, plans, and says what it lacks. Linked with engine/parallel/left_out.cpp.
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "parallel/parallel.h"
#include "parallel/plan.h"

using namespace flowcache;

namespace {

template <typename Call>
void expect_refused(const Call& call) {
  try {
    call();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_NOT_FOUND);
    EXPECT_NE(std::string(error.what()).find("this build runs on one device: Gloo's headers"),
              std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("libgloo-dev"), std::string::npos) << error.what();
  }
}

TEST(WithoutGloo, SeveralDevicesAreRefusedWithTheRemedy) {
  expect_refused([] { load_on_ranks({}, {.devices = parse_devices("cpu,cpu")}, nullptr); });
  expect_refused([] { run_worker({.join = "127.0.0.1:7000"}); });
}

TEST(WithoutGloo, PlansAreStillMade) {
  EXPECT_EQ(share_of(7, 2, 0).count, 4);
  EXPECT_EQ(choose_attention_split("", {.heads = 12, .kv_heads = 12}, 5), AttentionSplit::rows);
}

}  // namespace
