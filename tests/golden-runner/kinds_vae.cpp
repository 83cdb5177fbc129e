// SPDX-License-Identifier: LGPL-2.1-or-later
#include "case.h"
#include "networks/decoders/taehv_encoder.h"
#include "networks/decoders/wan_vae.h"

namespace golden {
namespace {

// The engine stores clips frame by frame, the reference channel by channel.
at::Tensor swapped(const at::Tensor& clip) {
  return clip.transpose(0, 1).contiguous();
}

template <typename Config>
void wan_encode(Case& one) {
  const auto config = Config::from_json(one.config());
  const flowcache::WanVaeEncoder encoder(config, one.weights(), at::kFloat, one.device(),
                                         one.folder().string());
  for (const auto& call : one.calls()) {
    const at::Tensor frames = swapped(one.tensor(call.at("frames")));
    one.compare(swapped(encoder.encode((frames + 1) / 2)), call.at("latents"));
  }
}

template <typename Config>
void wan_decode(Case& one) {
  const auto config = Config::from_json(one.config());
  const flowcache::WanVaeDecoder decoder(config, one.weights(), at::kFloat, one.device(),
                                         one.folder().string());
  for (const auto& call : one.calls()) {
    const at::Tensor latents = swapped(one.tensor(call.at("latents")));
    const auto whole = decoder.open();
    one.compare(swapped(decoder.decode_unclamped(latents, *whole)), call.at("frames"));
    const auto state = decoder.open();
    std::vector<at::Tensor> parts;
    int64_t at = 0;
    for (const int64_t n : call.value("split", std::vector<int64_t>{})) {
      parts.push_back(decoder.decode_unclamped(latents.narrow(0, at, n), *state));
      at += n;
    }
    if (!parts.empty()) one.compare(swapped(at::cat(parts)), call.at("frames"));
  }
}

void taehv_encode(Case& one) {
  const auto config = flowcache::TaehvEncoderConfig::from_json(one.config());
  const flowcache::TaehvEncoder encoder(config, one.weights(), at::kFloat, one.device(),
                                        one.folder().string());
  for (const auto& call : one.calls())
    one.compare(encoder.encode(one.tensor(call.at("frames"))), call.at("latents"));
}

}  // namespace

void register_vae(Handlers& handlers) {
  handlers["wan-vae-encode"] = wan_encode<flowcache::WanVaeConfig>;
  handlers["wan-vae-decode"] = wan_decode<flowcache::WanVaeConfig>;
  handlers["wan22-vae-encode"] = wan_encode<flowcache::Wan22VaeConfig>;
  handlers["wan22-vae-decode"] = wan_decode<flowcache::Wan22VaeConfig>;
  handlers["taehv-encode"] = taehv_encode;
}

}  // namespace golden
