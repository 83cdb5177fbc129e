// SPDX-License-Identifier: LGPL-2.1-or-later
// Exits with 77, and says why, where the device cannot be had.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>

#include "spare_budgets.h"
#include "spare_device.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  at::set_num_threads(1);  // the tensors are tiny
  const std::string reason = spare::install();
  if (!reason.empty()) return std::printf("skipped: %s\n", reason.c_str()), 77;
  if (argc > 1 && std::strcmp(argv[1], "--report") == 0) return spare::print_budgets(), 0;
  return RUN_ALL_TESTS();
}
