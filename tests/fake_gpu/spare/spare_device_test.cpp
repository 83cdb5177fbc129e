// SPDX-License-Identifier: LGPL-2.1-or-later
// What the spare device computes, counts and refuses.
#include <c10/core/InferenceMode.h>

#include "spare_compare.h"
#include "stream/device.h"

namespace spare {
namespace {

using flowcache::test::message_of;

TEST(SpareDevice, ComputesWhatTheCpuDoes) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::randn({4, 6}), y = x.to(device);
  EXPECT_TRUE(at::matmul(y, y.t()).cpu().equal(at::matmul(x, x.t())));
  at::Tensor part = y.narrow(1, 2, 3);  // a view
  part.mul_(2);
  EXPECT_TRUE(y.cpu().narrow(1, 2, 3).equal(x.narrow(1, 2, 3) * 2));
  EXPECT_TRUE((y + at::scalar_tensor(1.0)).cpu().isfinite().all().item<bool>())
      << "one number may come from the host";
  EXPECT_TRUE(at::empty({3}, y.options()).isnan().all().item<bool>());
}

TEST(SpareDevice, Counts) {
  const c10::InferenceMode inference;
  const Counts before = counts();
  const at::Tensor x = at::ones({2}).to(device);
  (x + x).cpu();
  x.sum().item<float>();
  flowcache::wait_for(device);
  const Counts made = counts() - before;
  EXPECT_EQ(made.to_device, 1);
  EXPECT_EQ(made.to_host, 1);
  EXPECT_EQ(made.items, 1);
  EXPECT_EQ(made.waits, 1);
  EXPECT_GE(made.calls, 2);
}

TEST(SpareDevice, RefusesOperatorsOnTwoDevices) {
  const c10::InferenceMode inference;
  const at::Tensor host = at::ones({2, 2}), there = host.to(device);
  EXPECT_NE(message_of([&] { there + host; }), "");
  EXPECT_NE(message_of([&] { at::cat({there, host}); }), "");
  EXPECT_NE(message_of([&] { at::matmul(there, host); }), "");
  EXPECT_NE(message_of([&] { there.index_select(0, at::arange(2)); }), "");
  EXPECT_NE(message_of([&] { at::linear(host, there); }), "");
  EXPECT_NE(message_of([&] { at::conv2d(there.view({1, 1, 2, 2}), host.view({1, 1, 2, 2})); }), "");
}

TEST(SpareDeviceDeathTest, AHostPointerIntoItEndsTheProcess) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::ones({2}).to(device);
  EXPECT_DEATH(static_cast<volatile float*>(x.data_ptr<float>())[1] = 1,
               "the host touched the device's memory");
  EXPECT_DEATH((void)static_cast<const volatile float*>(x.const_data_ptr<float>())[0], "the host touched");
}

TEST(SpareDevice, IsNoDeviceOfTheEngines) {
  EXPECT_NE(message_of([] { flowcache::choose_device(device.str()); }).find("auto, cpu, cuda"),
            std::string::npos);
}

}  // namespace
}  // namespace spare
