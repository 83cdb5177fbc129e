// SPDX-License-Identifier: LGPL-2.1-or-later
// A golden case on disk, and the comparison that all kinds use. Files: case.json {kind, config, calls,
// tolerance, notes}, tensors.safetensors (in.*, out.*), weights.safetensors (missing for pure functions).
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "networks/matrix.h"
#include "package/safetensors.h"

namespace golden {

using flowcache::WeightMap;

struct Tolerance {
  double rtol = 0, atol = 0;
};

class Case {
 public:
  // bound: of a precision below fp32, holds every floating tensor to this distance |got - want| / |want| of
  // norms instead of the case's tolerance.
  // device: where networks are built, and where tensor() is.
  explicit Case(const std::filesystem::path& folder, flowcache::Precision precision = at::kFloat,
                double bound = 0, at::Device device = at::kCPU);

  const std::filesystem::path& folder() const { return folder_; }
  const std::string& kind() const { return kind_; }
  const nlohmann::json& config() const { return json_.at("config"); }
  const nlohmann::json& calls() const { return json_.at("calls"); }
  const nlohmann::json& json() const { return json_; }
  const WeightMap& weights() const { return weights_; }
  // The precision that networks are built with.
  flowcache::Precision precision() const { return precision_; }
  at::Device device() const { return device_; }
  // A tensor of tensors.safetensors; throws if it is missing.
  const at::Tensor& tensor(const std::string& name) const;
  bool has(const std::string& name) const { return tensors_.contains(name); }
  // The case's tolerance. If a case has several, the one with this name.
  Tolerance tolerance(const std::string& name = "") const;

  // Checks |got - want| <= atol + rtol |want| everywhere, equal shapes, and that got is finite where want is.
  // Integers must be equal. Keeps the largest excess for the report. A failed comparison fails the case but
  // does not throw.
  void compare(const at::Tensor& got, const std::string& want, Tolerance tolerance);
  void compare(const at::Tensor& got, const std::string& want) { compare(got, want, tolerance()); }
  void fail(const std::string& why);
  // A check of something other than a tensor. If it is false, the case fails with `what`.
  void check(bool holds, const std::string& what);

  bool ok() const { return failures_.empty() && comparisons_ > 0; }
  double largest_error() const { return largest_error_; }  // of an element; below fp32, of a tensor's norm
  int comparisons() const { return comparisons_; }
  std::string failures() const;

 private:
  std::filesystem::path folder_;
  nlohmann::json json_;
  std::string kind_;
  flowcache::Precision precision_;
  double bound_ = 0;
  at::Device device_;
  WeightMap tensors_, weights_;
  int comparisons_ = 0;
  double largest_error_ = 0;
  std::vector<std::string> failures_;
};

using Handler = std::function<void(Case&)>;
// From kind to handler. The register function of each kinds_*.cpp adds its own; main.cpp calls them.
using Handlers = std::map<std::string, Handler>;

void register_schedule(Handlers&);   // step-matrix, magi-timesteps
void register_wan(Handlers&);        // sinusoid-rope, wan-dit, wan-dit-causal
void register_decoders(Handlers&);   // taehv-decode, …
void register_cache(Handlers&);      // reuse-trace, kv-score
void register_pipelines(Handlers&);  // self-forcing-pipeline, ambient-stream
void register_feed(Handlers&);       // wan-feed

void register_text(Handlers&);            // t5-encode, umt5-encode, tokenize
void register_unipc(Handlers&);           // unipc-flow
void register_vae(Handlers&);             // wan-vae-*, wan22-vae-*, taehv-encode
void register_magi(Handlers&);            // magi-dit-*, magi-cfg3
void register_magi_pipelines(Handlers&);  // magi-pipeline-*
void register_skyreels(Handlers&);        // skyreels-dit, skyreels-df-pipeline

}  // namespace golden
