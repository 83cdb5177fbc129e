// SPDX-License-Identifier: LGPL-2.1-or-later
// PackCache (arXiv 2601.04359). Each older frame keeps half as many tokens as the next newer one; anchors,
// the first frames of the video, keep all. The paper does not say which tokens of a frame stay. Here they are
// spread evenly over the picture, and thinned out again whenever the frame becomes older. positions=relative
// closes the gaps in time that dropped frames leave, as the paper does.
#include "cache/kv/packcache.h"

#include <algorithm>

#include "base/error.h"
#include "cache/kv/window.h"
#include "cache/registry.h"

namespace flowcache {

std::vector<int64_t> pack_quotas(int64_t budget, int window) {
  std::vector<int64_t> quotas;
  int64_t given = 0;
  for (int d = 1; d <= window; ++d) {
    quotas.push_back(budget >> std::min(std::min(d, window - 1), 62));
    given += quotas.back();
  }
  quotas.front() += budget - given;
  return quotas;
}

namespace {

// Slots [first, first + size) of one frame or chunk.
struct Unit {
  int64_t first = 0, size = 0, kept = 0;
  bool anchor = false;
};

class PackKv final : public KvPolicy {
 public:
  PackKv(int window, bool chunks, int64_t anchor_frames, Positions positions)
      : window_(window), chunks_(chunks), anchor_frames_(anchor_frames), positions_(positions) {}
  Positions positions() const override { return positions_; }

  void begin(int64_t tokens_per_frame, int64_t, int64_t budget_tokens) override {
    if (anchor_frames_ == 0 || anchor_frames_ * tokens_per_frame < budget_tokens) return;
    throw Error(FC_ERROR_ARGUMENT,
                "KV cache policy packcache: anchors of " + std::to_string(anchor_frames_ * tokens_per_frame) +
                    " tokens leave nothing of a budget of " + std::to_string(budget_tokens) +
                    " tokens: lower anchor_frames or raise kv-budget");
  }

  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    std::vector<Unit> units = units_of(layer);
    share_out(units, budget);
    std::vector<int64_t> slots;
    for (const Unit& unit : units)
      for (int64_t i = 0; i < unit.kept; ++i)  // the middle of each of `kept` parts of equal length
        slots.push_back(unit.first + (2 * i + 1) * unit.size / (2 * unit.kept));
    return at::tensor(slots, at::kLong);
  }

 private:
  std::vector<Unit> units_of(const HistoryLayer& layer) const {
    const at::Tensor origin = layer.origin[0].contiguous();
    const int64_t* token = origin.const_data_ptr<int64_t>();
    const int64_t length = chunks_ ? layer.tokens_per_chunk : layer.tokens_per_frame;
    const int64_t anchors = anchor_frames_ * layer.tokens_per_frame;
    std::vector<Unit> units;
    int64_t last = -1;
    for (int64_t slot = 0; slot < origin.numel(); ++slot) {
      const bool anchor = token[slot] < anchors;
      const int64_t unit = anchor ? -2 - token[slot] / layer.tokens_per_frame : token[slot] / length;
      if (units.empty() || unit != last) units.push_back({.first = slot, .anchor = anchor});
      ++units.back().size;
      last = unit;
    }
    return units;
  }

  // Tokens that a unit cannot use go to the next older unit. What remains goes to the newest units that have
  // room.
  void share_out(std::vector<Unit>& units, int64_t budget) const {
    int64_t room = budget;
    for (Unit& unit : units)
      if (unit.anchor) room -= unit.kept = unit.size;
    const std::vector<int64_t> quotas = pack_quotas(room, window_);
    int64_t carried = 0, given = 0;
    size_t d = 0;
    for (auto unit = units.rbegin(); unit != units.rend() && d < quotas.size(); ++unit) {
      if (unit->anchor) continue;
      const int64_t offered = quotas[d++] + carried;
      unit->kept = std::min(unit->size, offered);
      carried = offered - unit->kept;
      given += unit->kept;
    }
    for (auto unit = units.rbegin(); unit != units.rend() && given < room; ++unit) {
      const int64_t more = std::min(unit->size - unit->kept, room - given);
      unit->kept += more;
      given += more;
    }
  }

  int window_;
  bool chunks_;
  int64_t anchor_frames_;
  Positions positions_;
};

}  // namespace

namespace kv {

PolicyEntry<KvPolicy> packcache() {
  return {.name = "packcache",
          .summary = "each older frame keeps half as many tokens as the next newer one; anchors keep all",
          .paper = "PackCache, arXiv 2601.04359",
          .options = {count_option("window", "number of frames or chunks that share the budget", 12, 1),
                      {.name = "unit", .help = "what is thinned out together", .words = {"frame", "chunk"}},
                      count_option("anchor_frames", "first latent frames of the video that stay whole", 0, 0,
                                   10000),
                      positions_option()},
          .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
            return std::make_unique<PackKv>(options.integer("window"), options.word("unit") == "chunk",
                                            options.integer("anchor_frames"), positions_of(options));
          }};
}

}  // namespace kv
}  // namespace flowcache
