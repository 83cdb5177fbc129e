// SPDX-License-Identifier: LGPL-2.1-or-later
// Pictures that a small Wan repaints, by every sampler, run by the engine's own Stream: wan-feed.
#include <c10/core/InferenceMode.h>

#include "case.h"
#include "families/wan/wan.h"
#include "fed_frames.h"
#include "given_model.h"
#include "networks/decoders/wan_vae.h"

namespace golden {

namespace {

using flowcache::Stream;
using flowcache::StreamConfig;
using nlohmann::json;

// Shows nothing, but of the sizes that Wan's VAE has.
class WanSizes final : public flowcache::Decoder {
 public:
  std::unique_ptr<flowcache::DecoderState> open() const override { return nothing_.open(); }
  at::Tensor decode(const at::Tensor& latents, flowcache::DecoderState&) const override { return latents; }
  int64_t time_scale() const override { return 4; }
  int64_t space_scale() const override { return 8; }

 private:
  NoDecoder nothing_;
};

std::shared_ptr<flowcache::LoadedModel> fed_model(Case& test, const json& call) {
  const Case transformer(test.folder() / test.config().at("transformer").get<std::string>(), test.precision(),
                         0, test.device());
  const Case vae(test.folder() / test.config().at("encoder").get<std::string>(), test.precision(), 0,
                 test.device());
  const auto model = given_model(test.tensor(call.at("noise"))[0], test.tensor(call.at("noise")).size(2));
  model->package.width = 8 * model->package.latent_width;
  model->package.height = 8 * model->package.latent_height;
  model->package.clean_context = true;
  model->package.sampler = call.at("sampler");
  model->package.cache = {{"reuse", "none"}, {"kv", "full"}, {"history_chunks", call.at("strengths").size()}};
  model->decoder = std::make_unique<WanSizes>();
  model->transformer =
      flowcache::make_wan(transformer.config(), transformer.weights(), test.precision(), test.device());
  model->compute = test.precision().compute;
  model->encoder = std::make_shared<flowcache::WanVaeEncoder>(
      flowcache::WanVaeConfig::from_json(vae.config()), vae.weights(), at::kFloat, test.device(),
      vae.folder().string());
  model->text = std::make_unique<GivenText>(test.tensor(call.at("text")));
  return model;
}

void run_wan_feed(Case& test) {
  const c10::InferenceMode inference;
  for (const json& call : test.calls()) {
    const auto model = fed_model(test, call);
    const at::Tensor noise = test.tensor(call.at("noise")), renoise = test.tensor(call.at("renoise"));
    Stream stream(model, StreamConfig{});
    stream.replace_noise(
        [&](int64_t chunk, int64_t draw) { return draw == 0 ? noise[chunk] : renoise[chunk][draw - 1]; });
    std::vector<at::Tensor> latents, clip;
    int64_t frame = 0;
    for (const double strength : call.at("strengths")) {
      const int64_t count = stream.feed().frames_wanted();
      clip.push_back(fed_frames(frame, count, 8 * noise.size(4), 8 * noise.size(3)));
      frame += count;
      stream.feed().give(clip.back(), strength, false);
      latents.push_back(generate(stream, 1));
    }
    test.compare(model->encoder->encode(at::cat(clip).to(test.device())).transpose(0, 1), call.at("fed"));
    test.compare(at::cat(latents, 1), call.at("latents"));
  }
}

}  // namespace

void register_feed(Handlers& handlers) {
  handlers["wan-feed"] = run_wan_feed;
}

}  // namespace golden
