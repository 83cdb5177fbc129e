// SPDX-License-Identifier: LGPL-2.1-or-later
// Runs a TAEHV decoder with this project's CPU kernels. Between two convolutions nothing is padded, joined or
// moved: a convolution reads the frame before where it lies, writes the phases of a finer grid to their
// places, and includes sums and ReLUs.
#include "base/process_end.h"
#include "networks/decoders/taehv_layers.h"
#include "networks/row_ranges.h"
#include "place_pixels.h"

namespace flowcache::taehv {
namespace {

using simd::Activation;

struct PictureMemBlock {
  PictureConvolution first, second, third;

  PictureMemBlock(const MemBlock& block, at::ScalarType type)
      : first(block.first.weight, block.first.bias, 2, type),
        second(block.second.weight, block.second.bias, 1, type),
        third(block.third.weight, block.third.bias, 1, type) {}

  // last: the frame before the first one; afterwards the newest.
  Pictures run(const Pictures& x, Pictures& last) const {
    if (!last.defined()) last = x.black();
    const Pictures a = like(x), b = like(x), out = like(x);
    a.for_rows([&](int64_t i, int64_t row) {
      const bool begin = i == 0;
      convolve(first, {&x, begin ? &last : &x}, {i, begin ? 0 : i - 1}, row, a);
    });
    b.for_rows([&](int64_t i, int64_t row) { convolve(second, {&a, nullptr}, {i, 0}, row, b); });
    out.for_rows([&](int64_t i, int64_t row) {
      convolve(third, {&b, nullptr}, {i, 0}, row, out, x.at(i, row, 0));
    });
    last = x.copy_of(x.count() - 1);
    return out;
  }

 private:
  static Pictures like(const Pictures& x) {
    return Pictures(x.count(), x.height(), x.width(), x.channels(), x.type());
  }
  static void convolve(const PictureConvolution& layer, std::array<const Pictures*, 2> inputs,
                       std::array<int64_t, 2> index, int64_t row, const Pictures& out,
                       const void* addend = nullptr) {
    layer.run({.inputs = {inputs[0], inputs[1]},
               .index = {index[0], index[1]},
               .row = row - 1,
               .column = -1,
               .results = out.width(),
               .y = out.at(index[0], row, 0),
               .y_stride = out.channels(),
               .addend = addend,
               .activation = Activation::relu});
  }
};

// Each phase of the finer grid has a convolution, which writes every second pixel of every second row.
struct PictureGrow {
  std::vector<PictureConvolution> phases;  // [factor][row][column]
  int64_t factor = 1, out = 0;

  PictureGrow(const Grow& grow, at::ScalarType type) : factor(grow.factor), out(grow.out) {
    for (const at::Tensor& phase : grow.weight.split(out)) phases.emplace_back(phase, at::Tensor(), 1, type);
  }

  // Grows picture `index` only; on the calling thread.
  void run(const Pictures& x, int64_t index, int64_t row, Activation activation, const Pictures& fine,
           int64_t first_fine) const {
    for (int64_t f = 0; f < factor; ++f)
      for (const int64_t r : {0, 1})
        for (const int64_t c : {0, 1})
          phases[(f * 2 + r) * 2 + c].run({.inputs = {&x, nullptr},
                                           .index = {index, 0},
                                           .row = row - 1 + r,
                                           .column = c - 1,
                                           .results = x.width(),
                                           .y = fine.at(first_fine + f, 2 * row + r, c),
                                           .y_stride = 2 * out,
                                           .activation = activation});
  }

  Pictures run(const Pictures& x) const {
    Pictures fine(x.count() * factor, 2 * x.height(), 2 * x.width(), out, x.type());
    x.for_rows([&](int64_t i, int64_t row) { run(x, i, row, Activation::none, fine, i * factor); });
    return fine;
  }
};

struct PictureStage {
  std::vector<PictureMemBlock> blocks;
  PictureGrow grow;
};

class PictureRunner final : public Runner {
 public:
  PictureRunner(const Config& config, const Layers& layers, at::ScalarType compute)
      : config_(config),
        compute_(compute),
        first_(layers.first.weight, layers.first.bias, 1, compute),
        last_(layers.last.weight, layers.last.bias, 1, compute) {
    for (const Stage& stage : layers.stages) {
      PictureStage own{{}, PictureGrow(stage.grow, compute)};
      for (const MemBlock& block : stage.blocks) own.blocks.emplace_back(block, compute);
      stages_.push_back(std::move(own));
    }
  }

  at::Tensor decode(const at::Tensor& latents, State& state) const override {
    const at::Tensor limited = at::tanh(latents.to(at::kCPU, at::kFloat) * (config_.latent_scale / 3)) * 3;
    Pictures x = first(Pictures::from(limited, compute_));
    size_t memory = 0;
    for (const PictureStage& stage : stages_) {
      stop_at_process_end();
      for (const PictureMemBlock& block : stage.blocks) {
        if (state.last_pictures.size() == memory) state.last_pictures.emplace_back();
        x = block.run(x, state.last_pictures[memory++]);
      }
      if (&stage != &stages_.back()) x = stage.grow.run(x);
    }
    return finish(x);
  }

 private:
  Pictures first(const Pictures& latents) const {
    Pictures out(latents.count(), latents.height(), latents.width(), first_.out_channels(), compute_);
    out.for_rows([&](int64_t i, int64_t row) {
      first_.run({.inputs = {&latents, nullptr},
                  .index = {i, 0},
                  .row = row - 1,
                  .column = -1,
                  .results = out.width(),
                  .y = out.at(i, row, 0),
                  .y_stride = out.channels(),
                  .activation = Activation::relu});
    });
    return out;
  }

  // The last growth and the output convolution, frame by frame with one thread for each frame. So only a few
  // frames of the finest grid exist at the same time.
  at::Tensor finish(const Pictures& x) const {
    const PictureGrow& grow = stages_.back().grow;
    const int64_t scale = 2 * config_.patch_size;
    const at::Tensor frames = at::empty({x.count() * grow.factor, 3, x.height() * scale, x.width() * scale});
    for_row_ranges(at::kCPU, x.count(), /*slice=*/0,
                   [&](int64_t index, int64_t) {
                     const Pictures fine(grow.factor, 2 * x.height(), 2 * x.width(), grow.out, x.type());
                     for (int64_t row = 0; row < x.height(); ++row)
                       grow.run(x, index, row, Activation::relu, fine, 0);
                     const at::Tensor y =
                         at::empty({grow.factor, fine.height(), fine.width(), last_.out_channels()},
                                   at::TensorOptions().dtype(compute_));
                     output(fine, y);
                     place_patches(y, config_.patch_size, frames.narrow(0, index * grow.factor, grow.factor));
                   },
                   {1, 1});
    return frames;
  }

  void output(const Pictures& fine, const at::Tensor& y) const {
    const int64_t row_bytes = y.stride(1) * y.element_size();
    auto* to = static_cast<std::byte*>(y.mutable_data_ptr());
    for (int64_t i = 0; i < fine.count(); ++i)
      for (int64_t row = 0; row < fine.height(); ++row, to += row_bytes)
        last_.run({.inputs = {&fine, nullptr},
                   .index = {i, 0},
                   .row = row - 1,
                   .column = -1,
                   .results = fine.width(),
                   .y = to,
                   .y_stride = y.size(3)});
  }

  Config config_;
  at::ScalarType compute_;
  PictureConvolution first_, last_;
  std::vector<PictureStage> stages_;
};

}  // namespace

std::unique_ptr<Runner> make_picture_runner(const Config& config, const Layers& layers,
                                            at::ScalarType compute) {
  return std::make_unique<PictureRunner>(config, layers, compute);
}

}  // namespace flowcache::taehv
