// SPDX-License-Identifier: LGPL-2.1-or-later
// Builds networks on a device from a package on disk. A new kind of decoder or text encoder is one line in
// factory.cpp.
#pragma once

#include <memory>

#include "networks/decoders/decoder.h"
#include "networks/decoders/frame_encoder.h"
#include "networks/matrix.h"
#include "networks/text/text_encoder.h"
#include "networks/transformer.h"
#include "package/model.h"

namespace flowcache {

// Each function reads the weights of its section and builds what "family" or "kind" names. Throws
// FC_ERROR_MODEL for an unknown name (the message lists the known ones), for a config that is out of range
// and for weights that do not fit; FC_ERROR_NOT_FOUND for a missing file. A package of random weights reads
// no file.
std::unique_ptr<Transformer> make_transformer(const ModelPackage& package, Precision precision,
                                              at::Device device);
std::unique_ptr<Decoder> make_decoder(const ModelPackage& package, at::ScalarType compute, at::Device device);
// The weights that make_transformer() builds of: by the names that the network has, with the LoRAs of model.json.
WeightMap transformer_weights(const ModelPackage& package);
// The encoder that belongs to the decoder: what the section "encoder" names, else the decoder's own, whose weights are in
// the decoder's files.
std::unique_ptr<FrameEncoder> make_frame_encoder(const ModelPackage& package, at::ScalarType compute,
                                                 at::Device device);
std::unique_ptr<TextEncoder> make_text_encoder(const ModelPackage& package, at::Device device);

// What does not fit, a message for each section: the keys of transformer, decoder and text encoder, as far as their
// files are there, against those that the networks want. Builds nothing.
std::vector<std::string> check_present_keys(const ModelPackage& package);

// Bytes of the sections' weights as 16-bit floats, from their configs alone. A list of words counts as 0.
struct WeightSizes {
  int64_t transformer = 0, text = 0, decoder = 0;
};
WeightSizes weight_sizes(const ModelPackage& package);

}  // namespace flowcache
