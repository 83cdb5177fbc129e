// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's diffusion transformer (arXiv 2505.13211): adaLN gates only (no shift or scale), self- and
// cross-attention side by side, grouped query heads, RoPE with learned frequency bands. Keys as in the
// published checkpoints.
//
// Time runs from t = 0 (noise) to t = 1 (clean), and velocity points towards clean.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "networks/parameters.h"
#include "networks/transformer.h"

namespace flowcache {

struct MagiConfig {
  int layers = 0;
  int64_t hidden = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t condition = 0;  // width of the timestep condition
  int64_t text = 0;       // width of the caption tokens that cross-attention reads
  int64_t caption_channels = 0, caption_length = 0;
  int64_t latent_channels = 16;   // of the VAE
  bool doubled_channels = false;  // 24B: the latent enters twice, and half of the output is used
  bool gated_ffn = false;         // 24B: SiLU(a) * b instead of GELU
  double latent_scale =
      1;  // the latent is multiplied by it on the way in, the velocity divided on the way out
  int64_t patch = 2;
  double eps = 1e-6;
  bool distilled = false;  // told the size of its step besides the time
  int steps = 64;          // for the size of the step, where the caller does not say

  int64_t network_channels() const { return latent_channels * (doubled_channels ? 2 : 1); }
  // Reads a published config.json (model_config, runtime_config, engine_config). Throws FC_ERROR_MODEL.
  static MagiConfig from_json(const nlohmann::json& config);
};

// How far the distilled model is told to step: published as 2·N/4, for the 12-step model 8 / time_interval.
double magi_step_size(int steps, double time_interval);

class MagiTransformer final : public Transformer {
 public:
  // Throws FC_ERROR_MODEL with every missing, unexpected or misshaped key; `what` names the file. Embedders,
  // head, q/k norms and post norms compute in fp32 as published, the rest in `dtype`.
  MagiTransformer(const MagiConfig& config, const WeightMap& weights, Precision precision, at::Device device,
                  const std::string& what);
  ~MagiTransformer() override;

  const TransformerShape& shape() const override;
  // features [n, caption_channels]: caption tokens of one chunk, padding removed; more than caption_length
  // are cut.
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override;
  // The network's own empty caption (its first 50 tokens). `unconditional`: also the timestep condition of
  // guidance's branch without text; else that of the branch with text, as for clean history.
  std::shared_ptr<const Condition> null_condition(bool unconditional) const;

  // timesteps: one, in 0..1.
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                 int64_t first_frame) const override;
  // The same with the step size of magi_step_size().
  Embedded embed(const at::Tensor& latent, double t, int64_t first_frame, double step_size) const;
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override;
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override;
  void slice_tokens(int64_t most) override;

  // For tests. Table [tokens, sines | cosines]; the condition vector of a chunk; the projected caption.
  at::Tensor rope_table(const Embedded& embedded) const;
  at::Tensor chunk_condition(const Embedded& embedded, const Condition& condition) const;
  at::Tensor caption_tokens(const at::Tensor& features) const;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace flowcache
