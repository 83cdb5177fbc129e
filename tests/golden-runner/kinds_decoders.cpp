// SPDX-License-Identifier: LGPL-2.1-or-later
#include "case.h"
#include "networks/decoders/taehv.h"

namespace golden {
namespace {

using namespace flowcache;

void taehv_decode(Case& c) {
  const auto decoder = make_taehv(c.config(), c.weights(), at::kFloat, c.device());
  for (const auto& call : c.calls()) {
    const at::Tensor& latents = c.tensor(call.at("latents"));
    c.compare(decoder->decode(latents, *decoder->open()), call.at("frames"));
    c.compare(taehv_decode_raw(*decoder, latents, *decoder->open()), call.at("untrimmed"));
    const auto state = decoder->open();
    std::vector<at::Tensor> parts;
    int64_t begin = 0;
    for (const auto& count : call.at("split")) {
      parts.push_back(decoder->decode(latents.narrow(0, begin, count), *state));
      begin += count.get<int64_t>();
    }
    c.compare(at::cat(parts), call.at("frames"));
  }
}

}  // namespace

void register_decoders(Handlers& handlers) {
  handlers["taehv-decode"] = taehv_decode;
}

}  // namespace golden
