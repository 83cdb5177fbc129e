// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/libtorch_settings.h"

#include <ATen/Context.h>

#include <mutex>

namespace flowcache {
namespace {

using at::Float32Backend;
using at::Float32Op;
using at::Float32Precision;

// What the program had chosen.
struct Chosen {
  bool benchmark = false;
  Float32Precision convolutions = Float32Precision::NONE;
  bool exact_products = true;
  at::Float32MatmulPrecision products = at::Float32MatmulPrecision::HIGHEST;
};

struct Users {
  std::mutex mutex;
  int count = 0;
  Chosen chosen;
};

Users& users() {
  static Users one;
  return one;
}

const char* name_of(at::Float32MatmulPrecision precision) {
  if (precision == at::Float32MatmulPrecision::HIGHEST) return "highest";
  return precision == at::Float32MatmulPrecision::HIGH ? "high" : "medium";
}

bool tf32(Float32Op op) {
  return at::globalContext().float32Precision(Float32Backend::CUDA, op) == Float32Precision::TF32;
}

}  // namespace

LibTorchSettings::LibTorchSettings() {
  Users& all = users();
  const std::lock_guard lock(all.mutex);
  if (all.count++ > 0) return;
  at::Context& context = at::globalContext();
  all.chosen = {.benchmark = context.benchmarkCuDNN(),
                .convolutions = context.float32Precision(Float32Backend::CUDA, Float32Op::CONV),
                .exact_products = !tf32(Float32Op::MATMUL)};
  context.setBenchmarkCuDNN(false);
  if (tf32(Float32Op::CONV))
    context.setFloat32Precision(Float32Backend::CUDA, Float32Op::CONV, Float32Precision::IEEE);
  if (all.chosen.exact_products) return;
  // LibTorch keeps this choice twice, and refuses to multiply if the two differ. This call sets both.
  all.chosen.products = context.float32MatmulPrecision();
  context.setFloat32MatmulPrecision("highest");
}

LibTorchSettings::~LibTorchSettings() {
  Users& all = users();
  const std::lock_guard lock(all.mutex);
  if (--all.count > 0) return;
  at::Context& context = at::globalContext();
  context.setBenchmarkCuDNN(all.chosen.benchmark);
  context.setFloat32Precision(Float32Backend::CUDA, Float32Op::CONV, all.chosen.convolutions);
  if (!all.chosen.exact_products) context.setFloat32MatmulPrecision(name_of(all.chosen.products));
}

}  // namespace flowcache
