// SPDX-License-Identifier: LGPL-2.1-or-later
// magi-dit-window, magi-dit-chunkwise, magi-dit-cfg3, magi-cfg3: the transformer and its guidance.
#include "case.h"
#include "families/magi/magi_guidance.h"
#include "families/magi/magi_stream.h"
#include "magi_reference.h"
#include "stream_cases.h"

namespace golden {
namespace {

using namespace flowcache;
using nlohmann::json;

std::string name_in(const json& call, const char* field) {
  return call.at("in").at(field).get<std::string>();
}

int64_t tokens_of(const Case& one) {
  return one.config().at("tokens_per_chunk");
}

// The arguments of a call of the published window forward pass, for each chunk.
struct WindowCall {
  std::vector<WindowChunk> chunks;
  std::shared_ptr<const Condition> clean;
  double step_size = 0;
  bool prepended = false;
  bool stores = false;  // false: the memory is neither read nor written
};

WindowCall read_window(Case& one, const json& call, const MagiTransformer& model,
                       const std::vector<std::shared_ptr<const Condition>>& captions) {
  WindowCall window;
  window.prepended = call.at("prepend_clean_chunk_with_null_caption");
  window.step_size = magi_step_size(call.at("num_steps"), call.at("distill_interval"));
  window.clean = model.null_condition(false);
  const int64_t first = call.at("first_chunk");
  window.stores = first > 0 || window.prepended || call.at("extract_prefix_video_feature").get<bool>();
  const at::Tensor x = one.tensor(name_in(call, "x")), t = one.tensor(name_in(call, "t"));
  for (int64_t i = 0; i < t.size(0); ++i) {
    const json& range = call.at("key_chunk_range").at(static_cast<size_t>(i));
    const bool clean = window.prepended && i == 0;
    const int64_t chunk = first + i;
    window.chunks.push_back(
        {.x = x.narrow(1, i * chunk_frames, chunk_frames),
         .t = t[i].item<double>(),
         .chunk = chunk,
         .first = range.at(0),
         .last = range.at(1),
         .condition = clean ? window.clean.get() : captions[static_cast<size_t>(chunk)].get()});
  }
  return window;
}

at::Tensor in_time(const std::vector<at::Tensor>& chunks, bool skip_first) {
  return at::cat(at::TensorList(chunks).slice(skip_first ? 1 : 0), 1);
}

// Compares the inner values that a case holds: everything before the first block, and each block's output.
void compare_inside(Case& one, const json& call, const MagiTransformer& model, const WindowCall& window,
                    const WindowOutput& output) {
  const json& out = call.at("out");
  if (!out.contains("embedded")) return;
  const at::Tensor caption = one.tensor(name_in(call, "caption")),
                   mask = one.tensor(name_in(call, "caption_mask"));
  std::vector<at::Tensor> embedded, condition, rope, tokens;
  for (const WindowChunk& chunk : window.chunks) {
    const Embedded e = model.embed(chunk.x, chunk.t, chunk.chunk * chunk_frames, window.step_size);
    embedded.push_back(e.tokens);
    condition.push_back(model.chunk_condition(e, *chunk.condition));
    rope.push_back(model.rope_table(e));
    tokens.push_back(model.caption_tokens(caption[chunk.chunk].index({mask[chunk.chunk].ne(0)})));
  }
  const Tolerance tolerance = one.tolerance("default");
  one.compare(at::cat(embedded), out.at("embedded"), tolerance);
  one.compare(at::stack(condition), out.at("condition"), tolerance);
  one.compare(at::cat(rope), out.at("rope_sin_cos"), tolerance);
  one.compare(at::cat(tokens), out.at("caption_tokens"), tolerance);
  for (size_t layer = 0; layer < output.hidden.size(); ++layer) {
    const std::string name = "hidden_after_layer" + std::to_string(layer);
    if (out.contains(name)) one.compare(at::cat(output.hidden[layer]), out.at(name), tolerance);
  }
}

void compare_memory(Case& one, const json& out, const MagiMemory& memory, int layers) {
  for (int layer = 0; layer < layers; ++layer) {
    const std::string name = "kv_memory.layer" + std::to_string(layer);
    if (out.contains(name)) one.compare(memory.table(layer), out.at(name), one.tolerance("default"));
    if (out.contains("kv_memory"))
      one.compare(memory.table(layer), numbered(out.at("kv_memory"), layer), one.tolerance("default"));
  }
}

void dit_window(Case& one) {
  const auto model = load_magi(one);
  MagiMemory memory(model->shape().layers, tokens_of(one));
  for (const json& call : one.calls()) {
    if (call.at("kv_memory") == "fresh") memory = MagiMemory(model->shape().layers, tokens_of(one));
    const auto captions = read_captions(one, call.at("in"), *model);
    const WindowCall window = read_window(one, call, *model, captions);
    MagiMemory scratch = MagiMemory(model->shape().layers, tokens_of(one));
    WindowOutput output =
        forward_window(*model, window.stores ? memory : scratch, window.chunks, window.step_size);
    compare_inside(one, call, *model, window, output);
    if (call.at("near_clean_duplicate").get<bool>()) {
      const size_t oldest = window.prepended ? 1 : 0;
      const WindowChunk& chunk = window.chunks[oldest];
      output.velocity[oldest] = blend_nearly_clean(
          output.velocity[oldest], forward_alone(*model, chunk.x, chunk.t, window.chunks.back().chunk + 1,
                                                 *chunk.condition, window.step_size));
    }
    one.compare(in_time(output.velocity, window.prepended), call.at("out").at("velocity"),
                one.tolerance("default"));
    compare_memory(one, call.at("out"), memory, model->shape().layers);
  }
}

void dit_chunkwise(Case& one) {
  const auto model = load_magi(one);
  const json in = {{"caption", "in.caption"}, {"caption_mask", "in.caption_mask"}};
  const auto captions = read_captions(one, in, *model);
  const MagiPasses passes = MagiPasses::from_json(one.config());
  MagiMemory memory(model->shape().layers, tokens_of(one));
  for (const json& call : one.calls()) {
    if (call.at("kv_memory") == "fresh") memory = MagiMemory(model->shape().layers, tokens_of(one));
    const int steps = call.at("num_steps");
    for (const json& forward : call.at("forwards")) {
      const int64_t chunk = forward.at("chunk"), rope_chunk = forward.at("rope_chunk");
      const at::Tensor x = one.tensor(name_in(forward, "x"));
      const double t = forward.at("t");
      const double step_size =
          magi_step_size(steps, magi_time_interval(t == passes.clean_time ? 0 : t, steps, passes.shortcut));
      const Condition& caption = *captions[static_cast<size_t>(chunk)];
      const std::vector<int64_t> attended = forward.at("attends_chunks");
      const at::Tensor velocity =
          forward.at("near_clean_duplicate").get<bool>()
              ? forward_alone(*model, x, t, rope_chunk, caption, step_size)
              : forward_window(*model, memory,
                               {{x, t, chunk, attended.front(), attended.back() + 1, &caption}}, step_size)
                    .velocity[0];
      one.compare(velocity, forward.at("out").at("velocity"), one.tolerance("default"));
    }
    if (call.contains("out")) compare_memory(one, call.at("out"), memory, model->shape().layers);
  }
}

MagiGuidance read_guidance(const json& config) {
  return {.times = config.at("cfg_t_range"),
          .history = config.at("prev_chunk_scales"),
          .text = config.at("text_scales")};
}

void dit_guided(Case& one) {
  const auto model = load_magi(one);
  const MagiGuidance guidance = read_guidance(one.config().at("runtime_config"));
  const auto null = model->null_condition(true);
  MagiMemory memory(model->shape().layers, tokens_of(one));
  for (const json& call : one.calls()) {
    if (call.at("kv_memory") == "fresh") memory = MagiMemory(model->shape().layers, tokens_of(one));
    const auto captions = read_captions(one, call.at("in"), *model);
    const WindowCall window = read_window(one, call, *model, captions);
    MagiMemory copy = window.stores ? memory : MagiMemory(model->shape().layers, tokens_of(one)),
               other = copy;
    std::vector<WindowChunk> without_text = window.chunks;
    for (WindowChunk& chunk : without_text) chunk.condition = null.get();
    const auto with_text = forward_window(*model, copy, window.chunks, window.step_size);
    const auto with_history =
        forward_window(*model, window.stores ? memory : other, without_text, window.step_size);
    std::vector<at::Tensor> velocity;
    for (size_t i = window.prepended ? 1 : 0; i < window.chunks.size(); ++i) {
      const WindowChunk& chunk = window.chunks[i];
      velocity.push_back(guidance.combine(
          chunk.t, {.text = with_text.velocity[i],
                    .null = with_history.velocity[i],
                    .alone = forward_alone(*model, chunk.x, chunk.t, 0, *null, window.step_size)}));
    }
    one.compare(in_time(velocity, false), call.at("out").at("velocity"), one.tolerance("default"));
    if (window.stores) continue;  // otherwise keys of an older call would be attended
    std::vector<MagiStreamChunk> chunks;
    for (const WindowChunk& chunk : window.chunks)
      chunks.push_back(
          {chunk.x, chunk.t, read_captions_of(one, call.at("in"))[static_cast<size_t>(chunk.chunk)]});
    one.compare(guided_in_stream(one, chunks), call.at("out").at("velocity"), one.tolerance("default"));
  }
}

void guidance_table(Case& one) {
  const MagiGuidance guidance = read_guidance(one.config());
  const int64_t width = one.config().at("chunk_width");
  for (const json& call : one.calls()) {
    const at::Tensor t = one.tensor(name_in(call, "t"));
    std::vector<at::Tensor> velocity;
    at::Tensor history = at::empty_like(t), text = at::empty_like(t);
    for (int64_t c = 0; c < t.size(0); ++c) {
      const auto part = [&](const char* name) {
        return one.tensor(name_in(call, name)).narrow(1, c * width, width);
      };
      const double now = t[c].item<double>();
      history[c] = guidance.scales(now).history;
      text[c] = guidance.scales(now).text;
      velocity.push_back(
          guidance.combine(now, {.text = part("v_text"), .null = part("v_null"), .alone = part("v_alone")}));
    }
    const json& out = call.at("out");
    one.compare(at::cat(velocity, 1), out.at("velocity"), one.tolerance("default"));
    one.compare(history, out.at("prev_chunk_scale"), one.tolerance("default"));
    one.compare(text, out.at("text_scale"), one.tolerance("default"));
  }
}

}  // namespace

void register_magi(Handlers& handlers) {
  handlers["magi-dit-window"] = dit_window;
  handlers["magi-dit-chunkwise"] = dit_chunkwise;
  handlers["magi-dit-cfg3"] = dit_guided;
  handlers["magi-cfg3"] = guidance_table;
}

}  // namespace golden
