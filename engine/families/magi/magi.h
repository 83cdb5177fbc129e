// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's diffusion transformer (arXiv 2505.13211): adaLN has gates only (no shift or scale), self- and
// cross-attention run side by side, query heads are grouped, RoPE has learned frequencies. Keys are those of
// the published checkpoints.
//
// Time runs from t = 0 (noise) to t = 1 (clean), and the velocity points towards clean.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
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
  int64_t latent_channels = 16;   // channels of the VAE's latent
  bool doubled_channels = false;  // 24B: the input is the latent twice, and half of the output is used
  bool gated_ffn = false;         // 24B: SiLU(a) * b instead of GELU
  double latent_scale = 1;        // the latent is multiplied by it, the velocity is divided by it
  int64_t patch = 2;
  double eps = 1e-6;
  bool distilled = false;  // the network is told the size of its step as well as the time
  int steps = 64;          // gives the size of the step if the caller does not
  // Frequencies of the timestep's sinusoids, [128] in fp32 on the CPU. Undefined: magi_timestep_frequencies().
  at::Tensor timestep_frequencies;

  int64_t network_channels() const { return latent_channels * (doubled_channels ? 2 : 1); }
  // Reads a published config.json (model_config, runtime_config, engine_config). Throws FC_ERROR_MODEL.
  static MagiConfig from_json(const nlohmann::json& config);
};

// The size of the step that the distilled model is told: 2·N/4 as published; 8 / time_interval for the
// 12-step model.
double magi_step_size(int steps, double time_interval);

// exp(-ln(10000) i / 128), [128] in fp32 on the CPU, the same on every processor.
at::Tensor magi_timestep_frequencies();

class MagiTransformer final : public Transformer {
 public:
  // `what` names the file in messages. Throws FC_ERROR_MODEL with every missing, unexpected or misshaped key.
  // Embedders, head, q/k norms and post norms compute in fp32 as published, the rest in the given precision.
  MagiTransformer(const MagiConfig& config, WeightMap weights, Precision precision, at::Device device,
                  const std::string& what);
  ~MagiTransformer() override;
  // Transformer::with_weights(): this network's config, precision and device. `what` as above.
  MagiTransformer(const MagiTransformer& before, const WeightMap& weights,
                  const std::set<std::string>& touched, const std::string& what);

  const TransformerShape& shape() const override;
  // features: [n, caption_channels], the caption tokens of one chunk without padding; those after the first
  // caption_length are dropped.
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override;
  // The network's own empty caption (its first 50 tokens). unconditional: true uses the timestep condition of
  // the guidance branch without text, false that of the branch with text, as for clean history.
  std::shared_ptr<const Condition> null_condition(bool unconditional) const;

  // timesteps: exactly one, 0..1.
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                 int64_t first_frame) const override;
  // The same, with a step size as magi_step_size() gives it.
  Embedded embed(const at::Tensor& latent, double t, int64_t first_frame, double step_size) const;
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override;
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override;
  void slice_tokens(int64_t most) override;
  void add_joined(std::set<std::string>& touched) const override;

  // For tests. The rotary table [tokens, sines | cosines]; the condition vector of a chunk.
  at::Tensor rope_table(const Embedded& embedded) const;
  at::Tensor chunk_condition(const Embedded& embedded, const Condition& condition) const;
  at::Tensor caption_tokens(const at::Tensor& features) const;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace flowcache
