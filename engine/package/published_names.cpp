// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/published_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace flowcache {
namespace {

using Words = std::pair<std::string_view, std::string_view>;  // theirs, ours

// Whether `text` has `word` at a place that begins a name: at its start or behind a dot.
size_t find_word(std::string_view text, std::string_view word) {
  for (size_t at = 0; (at = text.find(word, at)) != std::string_view::npos; ++at)
    if (at == 0 || text[at - 1] == '.') return at;
  return std::string_view::npos;
}

// The first pair whose left side is in the key is used.
template <size_t N>
std::string replaced(const std::string& key, const Words (&table)[N]) {
  for (const auto& [theirs, ours] : table)
    if (const size_t at = find_word(key, theirs); at != std::string_view::npos)
      return std::string(key).replace(at, theirs.size(), ours);
  return key;
}

// The number behind `word`, and where it begins and ends.
struct Number {
  int64_t value = 0;
  size_t begin = 0, end = 0;
};
std::optional<Number> number_behind(const std::string& key, std::string_view word) {
  const size_t at = find_word(key, word);
  if (at == std::string_view::npos) return std::nullopt;
  Number out{.begin = at + word.size()};
  const auto [end, error] = std::from_chars(key.data() + out.begin, key.data() + key.size(), out.value);
  if (error != std::errc() || out.value < 0 || out.value > 10000) return std::nullopt;
  out.end = static_cast<size_t>(end - key.data());
  return out;
}

// ---- transformers, diffusers: scripts/convert_wan_to_diffusers.py, read from right to left

std::string wan_from_diffusers(const std::string& key, const WeightMap&) {
  static constexpr Words in_blocks[] = {{"attn1.to_q.", "self_attn.q."},
                                        {"attn1.to_k.", "self_attn.k."},
                                        {"attn1.to_v.", "self_attn.v."},
                                        {"attn1.to_out.0.", "self_attn.o."},
                                        {"attn1.norm_q.", "self_attn.norm_q."},
                                        {"attn1.norm_k.", "self_attn.norm_k."},
                                        {"attn2.to_q.", "cross_attn.q."},
                                        {"attn2.to_k.", "cross_attn.k."},
                                        {"attn2.to_v.", "cross_attn.v."},
                                        {"attn2.to_out.0.", "cross_attn.o."},
                                        {"attn2.norm_q.", "cross_attn.norm_q."},
                                        {"attn2.norm_k.", "cross_attn.norm_k."},
                                        {"ffn.net.0.proj.", "ffn.0."},
                                        {"ffn.net.2.", "ffn.2."},
                                        {"norm2.", "norm3."},
                                        {"scale_shift_table", "modulation"}};
  static constexpr Words around[] = {{"condition_embedder.time_embedder.linear_1.", "time_embedding.0."},
                                     {"condition_embedder.time_embedder.linear_2.", "time_embedding.2."},
                                     {"condition_embedder.text_embedder.linear_1.", "text_embedding.0."},
                                     {"condition_embedder.text_embedder.linear_2.", "text_embedding.2."},
                                     {"condition_embedder.time_proj.", "time_projection.1."},
                                     {"fps_projection.net.0.proj.", "fps_projection.0."},
                                     {"fps_projection.net.2.", "fps_projection.2."},
                                     {"proj_out.", "head.head."},
                                     {"scale_shift_table", "head.modulation"}};
  return number_behind(key, "blocks.") ? replaced(key, in_blocks) : replaced(key, around);
}

// ---- Wan's VAE, diffusers: the same script

// decoder.up_blocks.1.resnets.0.… is decoder.upsamples.4.…: here a level of blocks and what enlarges it are counted
// through. A level of the decoder has one block more than one of the encoder, whose blocks diffusers counts through,
// too.
std::string counted_through(std::string key) {
  constexpr int64_t blocks = 3, level = blocks + 1;  // of the published model: num_res_blocks 2, and one
  const auto up = number_behind(key, "decoder.up_blocks.");
  if (!up) return key;
  const std::string start = key.substr(0, up->begin - std::string_view("up_blocks.").size());
  const std::string rest = key.substr(up->end);
  std::string inner = ".resnets.", enlarging = ".upsamplers.0.";
  if (rest.starts_with(inner)) {
    const auto block = number_behind(rest, "resnets.");
    if (!block || block->value >= blocks) return key;
    return start + "upsamples." + std::to_string(up->value * level + block->value) + rest.substr(block->end);
  }
  if (rest.starts_with(enlarging))
    return start + "upsamples." + std::to_string(up->value * level + blocks) + "." +
           rest.substr(enlarging.size());
  return key;
}

bool has_inside(const WeightMap& all, std::string_view word) {
  return std::any_of(all.begin(), all.end(),
                     [&](const auto& entry) { return entry.first.find(word) != std::string::npos; });
}

// Wan 2.2's VAE has levels of blocks in both halves: encoder.down_blocks.1.downsampler.… is
// encoder.downsamples.1.downsamples.2.…
std::string counted_in_levels(const std::string& key) {
  constexpr Words halves[] = {{"encoder.down_blocks.", "downsamples."}, {"decoder.up_blocks.", "upsamples."}};
  for (const auto& [theirs, ours] : halves) {
    const auto level = number_behind(key, theirs);
    if (!level) continue;
    const bool encoder = theirs.starts_with("encoder.");
    const std::string_view resizing = encoder ? ".downsampler." : ".upsampler.";
    const std::string start =
                          key.substr(0, level->begin - theirs.size() + std::string_view("encoder.").size()) +
                          std::string(ours) + std::to_string(level->value) + "." + std::string(ours),
                      rest = key.substr(level->end);
    if (const auto block = number_behind(rest, "resnets."))
      return start + std::to_string(block->value) + rest.substr(block->end);
    if (rest.starts_with(resizing))  // behind the published model's blocks
      return start + (encoder ? "2." : "3.") + rest.substr(resizing.size());
  }
  return key;
}

std::string wan_vae_from_diffusers(const std::string& theirs, const WeightMap& all) {
  static constexpr Words places[] = {{"encoder.conv_in.", "encoder.conv1."},
                                     {"decoder.conv_in.", "decoder.conv1."},
                                     {"encoder.conv_out.", "encoder.head.2."},
                                     {"decoder.conv_out.", "decoder.head.2."},
                                     {"encoder.norm_out.", "encoder.head.0."},
                                     {"decoder.norm_out.", "decoder.head.0."},
                                     {"post_quant_conv.", "conv2."},
                                     {"quant_conv.", "conv1."},
                                     {"encoder.mid_block.resnets.0.", "encoder.middle.0."},
                                     {"encoder.mid_block.attentions.0.", "encoder.middle.1."},
                                     {"encoder.mid_block.resnets.1.", "encoder.middle.2."},
                                     {"decoder.mid_block.resnets.0.", "decoder.middle.0."},
                                     {"decoder.mid_block.attentions.0.", "decoder.middle.1."},
                                     {"decoder.mid_block.resnets.1.", "decoder.middle.2."}};
  static constexpr Words layers[] = {
      {"norm1.gamma", "residual.0.gamma"},   {"norm2.gamma", "residual.3.gamma"},
      {"conv1.weight", "residual.2.weight"}, {"conv1.bias", "residual.2.bias"},
      {"conv2.weight", "residual.6.weight"}, {"conv2.bias", "residual.6.bias"},
      {"conv_shortcut.", "shortcut."}};
  static constexpr Words blocks_of_21[] = {{"encoder.down_blocks.", "encoder.downsamples."}};
  std::string key = replaced(theirs, places);
  if (find_word(key, "encoder.down_blocks.") != std::string_view::npos ||
      find_word(key, "decoder.up_blocks.") != std::string_view::npos)
    key = has_inside(all, ".upsampler.") ? counted_in_levels(key)
                                         : counted_through(replaced(key, blocks_of_21));
  for (const std::string_view blocks : {"downsamples.", "middle.", "upsamples."})
    if (const auto at = number_behind(key, blocks))
      return key.substr(0, at->end) + replaced(key.substr(at->end), layers);
  return key;
}

// ---- UMT5

// The embedding is often there a second time, as the encoder's.
constexpr std::string_view embedding = "shared.weight", tied = "encoder.embed_tokens.weight";

bool has_ending(const WeightMap& all, std::string_view end) {
  return std::any_of(all.begin(), all.end(), [&](const auto& entry) { return entry.first.ends_with(end); });
}

std::string umt5_from_huggingface(const std::string& key, const WeightMap& all) {
  static constexpr Words layers[] = {
      {"layer.0.SelfAttention.relative_attention_bias.", "pos_embedding.embedding."},
      {"layer.0.SelfAttention.", "attn."},
      {"layer.0.layer_norm.", "norm1."},
      {"layer.1.DenseReluDense.wi_0.", "ffn.gate.0."},
      {"layer.1.DenseReluDense.wi_1.", "ffn.fc1."},
      {"layer.1.DenseReluDense.wo.", "ffn.fc2."},
      {"layer.1.layer_norm.", "norm2."}};
  static constexpr Words around[] = {{embedding, "token_embedding.weight"},
                                     {tied, "token_embedding.weight"},
                                     {"encoder.final_layer_norm.", "norm."}};
  if (find_word(key, tied) != std::string_view::npos && has_ending(all, embedding)) return "";
  if (find_word(key, "encoder.block.") == std::string_view::npos) return replaced(key, around);
  static constexpr Words blocks[] = {{"encoder.block.", "blocks."}};
  return replaced(replaced(key, blocks), layers);
}

std::string umt5_from_llama(const std::string& key, const WeightMap&) {
  static constexpr Words layers[] = {{"attn_rel_b.", "pos_embedding.embedding."},
                                     {"attn_q.", "attn.q."},
                                     {"attn_k.", "attn.k."},
                                     {"attn_v.", "attn.v."},
                                     {"attn_o.", "attn.o."},
                                     {"attn_norm.", "norm1."},
                                     {"ffn_gate.", "ffn.gate.0."},
                                     {"ffn_up.", "ffn.fc1."},
                                     {"ffn_down.", "ffn.fc2."},
                                     {"ffn_norm.", "norm2."}};
  static constexpr Words around[] = {{"token_embd.", "token_embedding."}, {"enc.output_norm.", "norm."}};
  if (find_word(key, "enc.blk.") == std::string_view::npos) return replaced(key, around);
  static constexpr Words blocks[] = {{"enc.blk.", "blocks."}};
  return replaced(replaced(key, blocks), layers);
}

}  // namespace

std::span<const Naming> transformer_namings() {
  static const std::array<Naming, 1> all = {{{"diffusers", wan_from_diffusers}}};
  return all;
}

std::span<const Naming> decoder_namings() {
  static const std::array<Naming, 1> all = {{{"diffusers", wan_vae_from_diffusers}}};
  return all;
}

std::span<const Naming> text_namings() {
  static const std::array<Naming, 2> all = {
      {{"Hugging Face", umt5_from_huggingface}, {"llama.cpp", umt5_from_llama}}};
  return all;
}

}  // namespace flowcache
