// SPDX-License-Identifier: LGPL-2.1-or-later
// A package's networks on a device that LoadedModel::load() cannot name.
#pragma once

#include <memory>

#include "families/factory.h"
#include "stream/loaded_model.h"

namespace spare {

inline std::shared_ptr<flowcache::LoadedModel> load(const flowcache::ModelPackage& package,
                                                    at::Device device) {
  auto model = std::make_shared<flowcache::LoadedModel>();
  model->package = package;
  model->device = device;
  model->text = flowcache::make_text_encoder(package, device);
  model->transformer = flowcache::make_transformer(package, at::kFloat, device);
  model->decoder = flowcache::make_decoder(package, at::kFloat, device);
  return model;
}

}  // namespace spare
