// SPDX-License-Identifier: LGPL-2.1-or-later
// If the residual of a computed step is applied to the same input again, the result is what the network would
// compute. One case for each kind of residual for which this holds.
#include <gtest/gtest.h>

#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

// Gives the network the same latent and timestep on every step, so that a reused step must equal a computed
// one.
class FrozenInput final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  Embedded embed(const at::Tensor& latent, std::span<const double>, int64_t first) const override {
    const double timestep = 500;
    return WrappedTransformer::embed(at::full_like(latent, 0.3), std::span(&timestep, 1), first);
  }
};

class Residual : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Residual,
                         testing::Values("interval:interval=4,residual=velocity",
                                         "interval:interval=4,residual=token_residual",
                                         "scm:residual=token_residual", "magcache:residual=token_residual",
                                         "interval:interval=4,order=1",  // a line through equal values
                                         "dbcache:first_blocks=1", "attention:start=0,interval=4"));

TEST_P(Residual, AppliedAtItsOwnStepIsTheComputedOutput) {
  const auto latents = [](const std::string& cache, uint64_t* reused) {
    const auto model = test::tiny_model();
    test::wrap_transformer<FrozenInput>(*model);
    StreamConfig config;
    config.prompt = "fire";
    config.cache = cache;
    Stream stream(model, config);
    const at::Tensor first = stream.next()->latent, second = stream.next()->latent;
    *reused = stream.stats().steps_reused;
    return at::stack({first, second});
  };
  uint64_t none = 0, reused = 0;
  const at::Tensor computed = latents("none", &none), again = latents(GetParam(), &reused);
  EXPECT_EQ(none, 0U);
  EXPECT_GE(reused, 2U);
  EXPECT_LT((computed - again).abs().max().item<double>(), 1e-4 * computed.abs().max().item<double>());
}

}  // namespace
}  // namespace flowcache
