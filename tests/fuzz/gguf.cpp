// SPDX-License-Identifier: LGPL-2.1-or-later
// A GGUF file: what is accepted can be read, and what it keeps in 8 bits can be made, to the last value.
#include "package/gguf.h"

#include "package/deferred.h"
#include "package/mapping.h"
#include "refused.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  static const fuzz::MemoryFile file;
  file.write(fuzz::text_of(data, size));
  WeightMap weights;
  if (fuzz::refused([&] { weights = read_gguf(std::make_shared<Mapping>(file.path())); })) return 0;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor wide = dense(tensor);
    FUZZ_REQUIRE(wide.is_cpu() && wide.sizes() == tensor.sizes());
    FUZZ_REQUIRE(static_cast<size_t>(wide.numel()) <= size);
    FUZZ_REQUIRE(wide.clone().nbytes() == wide.nbytes());
  }
  return 0;
}
