// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/noise.h"

#include <ATen/CPUGeneratorImpl.h>

#include "networks/upload.h"

namespace flowcache {

namespace {

// SplitMix64 (Steele, Lea, Flood 2014): spreads neighbouring inputs over all 64 bits.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

at::Tensor draw_noise(uint64_t seed, int64_t chunk, int64_t draw, at::IntArrayRef shape, at::Device device) {
  const uint64_t key = mix(mix(mix(seed) ^ static_cast<uint64_t>(chunk)) ^ static_cast<uint64_t>(draw));
  auto generator = at::make_generator<at::CPUGeneratorImpl>(key);
  return upload(at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat)), device);
}

}  // namespace flowcache
