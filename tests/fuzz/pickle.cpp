// SPDX-License-Identifier: LGPL-2.1-or-later
// What torch.save writes: a zip archive, or its pickle alone, which is then put beside a storage. What is accepted are
// tensors that can be read to their last byte; nothing else of a pickle has an effect.
#include "../unit/checkpoint_writer.h"
#include "package/weights_file.h"
#include "refused.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  static const fuzz::MemoryFile file;
  const std::string input(fuzz::text_of(data, size));
  const std::string archive =
      input.starts_with("PK\3\4")
          ? input
          : test::zip_of(
                {{"a/data.pkl", input}, {"a/data/0", std::string(64, '\1')}, {"a/byteorder", "little"}});
  file.write(archive);
  WeightMap weights;
  if (fuzz::refused([&] { weights = read_weights(file.path()); })) return 0;
  for (const auto& [name, tensor] : weights) {
    FUZZ_REQUIRE(!tensor.is_meta() && tensor.nbytes() <= archive.size());
    FUZZ_REQUIRE(tensor.clone(at::MemoryFormat::Contiguous).nbytes() == tensor.nbytes());
  }
  fuzz::refused([&] { join_scales(weights, "fuzz"); });
  fuzz::refused([&] { under_key(weights, "generator", "fuzz"); });
  return 0;
}
