// SPDX-License-Identifier: LGPL-2.1-or-later
#include "magi_reference.h"

#include <cmath>

namespace golden {

using namespace flowcache;

void MagiMemory::write(int layer, int64_t chunk, const KeyValue& own) {
  KeyValue& all = layers_[static_cast<size_t>(layer)];
  const int64_t end = (chunk + 1) * tokens_;
  for (auto [slots, part] : {std::pair(&all.k, &own.k), std::pair(&all.v, &own.v)}) {
    const int64_t have = slots->defined() ? slots->size(1) : 0;
    if (have < end) {
      const at::Tensor more = at::zeros({part->size(0), end - have, part->size(2)}, part->options());
      *slots = have ? at::cat({*slots, more}, 1) : more;
    }
    slots->narrow(1, chunk * tokens_, tokens_).copy_(*part);
  }
}

KeyValue MagiMemory::read(int layer, int64_t first, int64_t last) const {
  const KeyValue& all = layers_[static_cast<size_t>(layer)];
  const int64_t length = (last - first) * tokens_;
  return {all.k.narrow(1, first * tokens_, length), all.v.narrow(1, first * tokens_, length)};
}

MagiMemory MagiMemory::clone() const {
  MagiMemory copy = *this;
  for (KeyValue& layer : copy.layers_)
    if (layer.k.defined()) layer = {layer.k.clone(), layer.v.clone()};
  return copy;
}

at::Tensor MagiMemory::table(int layer) const {
  const KeyValue& all = layers_[static_cast<size_t>(layer)];
  return at::cat({all.k, all.v}, -1).transpose(0, 1);
}

WindowOutput forward_window(const MagiTransformer& model, MagiMemory& memory,
                            const std::vector<WindowChunk>& chunks, double step_size) {
  WindowOutput output;
  output.hidden.resize(static_cast<size_t>(model.shape().layers));
  for (const WindowChunk& one : chunks) {
    MagiView view(memory, one.chunk, one.first, one.last);
    const Embedded embedded = model.embed(one.x, one.t, one.chunk * chunk_frames, step_size);
    at::Tensor tokens = embedded.tokens;
    for (int layer = 0; layer < model.shape().layers; ++layer) {
      tokens = model.blocks(embedded, tokens, *one.condition, view, layer, layer + 1);
      output.hidden[static_cast<size_t>(layer)].push_back(tokens);
    }
    output.velocity.push_back(model.head(embedded, tokens));
  }
  return output;
}

at::Tensor forward_alone(const MagiTransformer& model, const at::Tensor& x, double t, int64_t chunk,
                         const Condition& condition, double step_size) {
  OwnKeys view;
  const Embedded embedded = model.embed(x, t, chunk * chunk_frames, step_size);
  return model.head(embedded,
                    model.blocks(embedded, embedded.tokens, condition, view, 0, model.shape().layers));
}

std::vector<std::shared_ptr<const Condition>> read_captions(Case& one, const nlohmann::json& in,
                                                            const MagiTransformer& model) {
  const at::Tensor caption = one.tensor(in.at("caption")), mask = one.tensor(in.at("caption_mask"));
  std::vector<std::shared_ptr<const Condition>> conditions;
  for (int64_t c = 0; c < caption.size(0); ++c)
    conditions.push_back(model.condition(caption[c].index({mask[c].ne(0)})));
  return conditions;
}

std::string numbered(std::string pattern, int layer) {
  return pattern.replace(pattern.find('*'), 1, std::to_string(layer));
}

namespace {

// As on the machine of the reference. Its float exp() (of MKL on AMD processors) gives frequency 12 a last bit more. The
// step size multiplies it by 8000, so that a cosine differs by 1e-4 without it.
at::Tensor reference_frequencies() {
  const at::Tensor frequencies = magi_timestep_frequencies();
  float& one = frequencies.mutable_data_ptr<float>()[12];
  one = std::nextafter(one, 1.0F);
  return frequencies;
}

}  // namespace

std::unique_ptr<MagiTransformer> load_magi(Case& one) {
  MagiConfig config = MagiConfig::from_json(one.config());
  config.timestep_frequencies = reference_frequencies();
  return std::make_unique<MagiTransformer>(config, one.weights(), one.precision(), one.device(),
                                           one.folder().string());
}

}  // namespace golden
