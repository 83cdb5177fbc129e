// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts as words of a small vocabulary, one vector each: what the model that ships understands.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>

#include "networks/text/text_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

// section: model.json's "text": vocabulary (its first word is the padding), synonyms (optional: word -> words
// of the vocabulary separated by spaces), max_length. weights: token_embedding.weight [vocabulary, text_dim].
//
// A prompt is lower-cased and split at everything that is not a letter a-z. A word of the vocabulary is
// taken; else a synonym becomes the words it stands for; else a word of 4 letters or more that is one edit (a
// letter inserted, deleted or replaced) away from exactly one word of the vocabulary becomes that word;
// anything else is unknown. The first max_length words count, the rest is dropped. No word at all gives the
// padding's vector. Throws FC_ERROR_MODEL for a section or weights that do not fit.
std::unique_ptr<TextEncoder> make_words(const nlohmann::json& section, const WeightMap& weights,
                                        at::Device device);

}  // namespace flowcache
