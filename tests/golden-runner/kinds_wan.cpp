// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_store.h"
#include "cache/registry.h"
#include "case.h"
#include "families/wan/wan.h"
#include "rms_norm_rope.h"

namespace golden {
namespace {

using namespace flowcache;
using nlohmann::json;

void sinusoid_rope(Case& c) {
  for (const json& call : c.calls()) {
    if (call.at("op") == "sinusoid") {
      const at::Tensor t = c.tensor(call.at("timesteps")).to(at::kCPU, at::kDouble).contiguous();
      const std::span<const double> timesteps(t.const_data_ptr<double>(), static_cast<size_t>(t.numel()));
      c.compare(sinusoid(timesteps, c.config().at("freq_dim")), call.at("embedding"));
    } else {
      const at::Tensor& x = c.tensor(call.at("x"));  // [tokens, heads, head_dim]
      const auto& grid = call.at("grid");
      const RopeTable table =
          rope_table({grid[0], grid[1], grid[2]}, call.at("first_frame"), x.size(2), c.device());
      at::Tensor y = at::empty({x.size(1), x.size(0), x.size(2)}, x.options());
      rms_norm_rope(x.flatten(1), {}, 0, table.cos, table.sin, 0, y);
      c.compare(y.transpose(0, 1), call.at("y"));
    }
  }
}

void bidirectional(Case& c) {
  const auto wan = make_wan(c.config(), c.weights(), c.precision(), c.device());
  for (const json& call : c.calls()) {
    const auto condition = wan->condition(c.tensor(call.at("text")));
    OwnKeys own;
    c.compare(wan->forward(c.tensor(call.at("latent")), call.at("timestep"), 0, *condition, own),
              call.at("velocity"));
  }
}

// A store that keeps what the case's own cache keeps: everything, or a sink and the last frames of
// `local_attn_size`, which include the chunk.
std::unique_ptr<KvStore> make_store(Case& c, const Transformer& wan, const at::Tensor& latent,
                                    int64_t chunks) {
  const TransformerShape& shape = wan.shape();
  const int64_t frames = c.config().at("frames_per_chunk");
  KvGeometry geometry{.layers = shape.layers, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim};
  geometry.dtype = c.precision().compute;
  geometry.device = c.device();
  geometry.tokens_per_frame = shape.tokens_per_frame(latent.size(2), latent.size(3));
  geometry.tokens_per_chunk = geometry.tokens_per_frame * frames;
  const int64_t window = c.config().at("local_attn_size");
  const int64_t budget = (window < 0 ? chunks * frames : window - frames) * geometry.tokens_per_frame;
  const std::string sink = std::to_string(c.config().at("sink_size").get<int64_t>());
  const KvChoice policy = choose_kv(window < 0 ? "full" : "window:sink_frames=" + sink);
  return std::make_unique<KvStore>(geometry, budget, policy.make());
}

// History and the chunk in flight after the last forward pass: [tokens, heads, head_dim].
at::Tensor in_slot_order(const at::Tensor& history, const at::Tensor& own) {
  return at::cat({history, own}, 1).transpose(0, 1);
}

// Passes calls on, and records each layer's own keys and values.
class Recorder final : public KvView {
 public:
  Recorder(KvView& next, std::map<int, KeyValue>& own) : next_(next), own_(own) {}
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    own_[layer] = {own.k.clone(), own.v.clone()};
    return next_.append(layer, q, own);
  }

 private:
  KvView& next_;
  std::map<int, KeyValue>& own_;
};

void causal(Case& c) {
  const auto wan = make_wan(c.config(), c.weights(), c.precision(), c.device());
  const auto condition = wan->condition(c.tensor("in.text"));
  const int64_t chunks = c.calls().back().at("chunk").get<int64_t>() + 1;
  const auto store = make_store(c, *wan, c.tensor(c.calls().front().at("latent")), chunks);
  std::map<int, KeyValue> own;
  int64_t open = -1;
  for (const json& call : c.calls()) {
    const int64_t chunk = call.at("chunk"), first_frame = call.at("first_frame");
    if (chunk != open) {
      if (open >= 0) store->finish(open);
      store->admit(chunk, first_frame);
      open = chunk;
    }
    Recorder view(store->view(chunk), own);
    c.compare(wan->forward(c.tensor(call.at("latent")), call.at("timestep"), first_frame, *condition, view),
              call.at("velocity"));
  }
  for (int layer = 0; layer < wan->shape().layers; ++layer) {
    const std::string name = "out.kv." + std::to_string(layer);
    const KeyValue history = store->history(layer);
    c.compare(in_slot_order(history.k, own[layer].k), name + ".k");
    c.compare(in_slot_order(history.v, own[layer].v), name + ".v");
  }
}

}  // namespace

void register_wan(Handlers& handlers) {
  handlers["sinusoid-rope"] = sinusoid_rope;
  handlers["wan-dit"] = bidirectional;
  handlers["wan-dit-causal"] = causal;
}

}  // namespace golden
