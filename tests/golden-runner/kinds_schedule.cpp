// SPDX-License-Identifier: LGPL-2.1-or-later
// step-matrix (SkyReels-V2) and magi-timesteps: the published tables, made from Schedule.
#include "case.h"
#include "samplers/flow_euler.h"
#include "samplers/magi_timesteps.h"
#include "schedule_views.h"

namespace golden {

namespace {

using nlohmann::json;

at::Tensor table(const std::vector<std::vector<int>>& rows) {
  std::vector<int> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(flat, at::kInt).view({static_cast<int64_t>(rows.size()), -1});
}

// Rows of blocks -> rows of latent frames.
std::vector<std::vector<int>> per_frame(const std::vector<std::vector<int>>& rows, int frames_per_block) {
  std::vector<std::vector<int>> result;
  for (const auto& row : rows) {
    auto& wide = result.emplace_back();
    for (const int value : row) wide.insert(wide.end(), frames_per_block, value);
  }
  return result;
}

void run_step_matrix(Case& test) {
  for (const json& call : test.calls()) {
    const int size = call.at("frames_per_chunk"), steps = call.at("steps");
    const auto matrix = flowcache::step_matrix(steps, call.at("ar_step"), call.at("frames").get<int>() / size,
                                               call.at("prefix_frames").get<int>() / size,
                                               call.at("base_frames").get<int>() / size);
    std::vector<int> timestep = {999};  // Θ: waiting at 999, the truncated timesteps, done at 0
    for (int i = 0; i < steps; ++i)
      timestep.push_back(static_cast<int>(
          1000 * flowcache::shifted_sigma(0.999 * (1 - static_cast<double>(i) / steps), call.at("shift"))));
    timestep.push_back(0);
    std::vector<std::vector<int>> times, updates, intervals;
    for (size_t row = 0; row < matrix.index.size(); ++row) {
      auto& t = times.emplace_back();
      for (const int index : matrix.index[row]) t.push_back(timestep[index]);
      updates.emplace_back(matrix.update[row].begin(), matrix.update[row].end());
      intervals.push_back({matrix.interval_first[row] * size, matrix.interval_last[row] * size});
    }
    test.compare(table(per_frame(matrix.index, size)), call.at("index"));
    test.compare(table(per_frame(times, size)), call.at("timestep"));
    test.compare(table(per_frame(updates, size)), call.at("update"));
    test.compare(table(intervals), call.at("interval"));
  }
}

void run_time_table(Case& test, const json& call) {
  flowcache::MagiTimeConfig config;
  config.shortcut = call.at("shortcut_mode");
  config.shift = call.value("shift", config.shift);
  if (call.contains("t_schedule_config")) {
    config.function = call.at("t_schedule_config").value("tSchedulerFunc", config.function);
    config.shift = call.at("t_schedule_config").value("shift", config.shift);
  }
  const auto times = flowcache::magi_timesteps(call.at("num_steps"), config);
  const json& out = call.at("out");
  test.compare(times.t, out.at("t"), test.tolerance("default"));
  if (out.contains("time_interval"))
    test.compare(at::tensor(times.time_interval), out.at("time_interval"), {});
  if (out.contains("nearly_clean")) {
    const std::vector<int> flags(times.nearly_clean.begin(), times.nearly_clean.end());
    test.compare(at::tensor(flags, at::kInt), out.at("nearly_clean"), {});
  }
}

void run_stage_table(Case& test, const json& call) {
  std::vector<std::vector<int>> rows(4);
  for (const auto& stage :
       flowcache::stage_table(call.at("chunk_num"), call.at("window_size"), call.at("chunk_offset"))) {
    rows[0].push_back(stage.clip_start);
    rows[1].push_back(stage.clip_end);
    rows[2].push_back(stage.t_start);
    rows[3].push_back(stage.t_end);
  }
  test.compare(table(rows), call.at("out").at("stages"), {});
}

// The arguments of MAGI-1's window forward pass at every global step: one row for each step, padded with -1.
struct RunTable {
  std::vector<std::vector<int>> head, step_index, key_range;
  std::vector<std::vector<float>> t;
};

struct RunConfig {
  int steps, chunk_num, window, offset;
  std::vector<int> kv_range;
  int clean_kv_range;
  float clean_t;
  size_t width;
};

// The first chunk that chunk `c` may attend at `step` (== steps: the clean pass of a finished chunk).
int first_key_chunk(const RunConfig& run, int c, int step) {
  const bool clean = step == run.steps;
  if (run.kv_range.empty()) return 0;  // the whole history
  const int range = !clean ? run.kv_range[step / (run.steps / static_cast<int>(run.kv_range.size()))]
                    : run.clean_kv_range > 0 ? run.clean_kv_range
                                             : run.kv_range.back();
  return std::max(0, c + 1 - range);
}

RunTable run_table(const RunConfig& run) {
  const at::Tensor t = flowcache::magi_timesteps(run.steps).t;
  const flowcache::Schedule schedule(run.steps, run.steps / run.window);
  const int per_stage = run.steps / run.window;
  RunTable result;
  for (int g = 0; g < per_stage * (run.chunk_num + run.window - 1 - run.offset); ++g) {
    std::vector<std::pair<int, int>> forwarded;  // chunk, step
    for (const auto& one : schedule.tick(g))
      if (one.chunk + run.offset < run.chunk_num)
        forwarded.emplace_back(static_cast<int>(one.chunk) + run.offset, one.step);
    const bool clean = g % per_stage == 0 && forwarded.front().first > run.offset;
    if (clean) forwarded.insert(forwarded.begin(), {forwarded.front().first - 1, run.steps});
    result.head.push_back(
        {g / per_stage, g % per_stage, forwarded.front().first, static_cast<int>(forwarded.size()), clean});
    auto& times = result.t.emplace_back();
    auto& steps = result.step_index.emplace_back();
    auto& ranges = result.key_range.emplace_back();
    for (const auto& [chunk, step] : forwarded) {
      times.push_back(step == run.steps ? run.clean_t : t[step].item<float>());
      steps.push_back(step);
      ranges.insert(ranges.end(), {first_key_chunk(run, chunk, step), chunk + 1});
    }
    times.resize(run.width, -1.f);
    steps.resize(run.width, -1);
    ranges.resize(2 * run.width, -1);
  }
  return result;
}

void run_run_table(Case& test, const json& call) {
  const json& out = call.at("out");
  const auto shape = test.tensor(out.at("t")).sizes();
  const RunConfig run{
      call.at("N"),       call.at("chunk_num"),
      call.at("window"),  call.at("prefix").get<int>() / test.config().at("chunk_width").get<int>(),
      call.at("kvrange"), call.at("clean_kvrange"),
      call.at("clean_t"), static_cast<size_t>(shape[1])};
  const RunTable result = run_table(run);
  std::vector<float> times;
  for (const auto& row : result.t) times.insert(times.end(), row.begin(), row.end());
  test.compare(at::tensor(times).view({-1, shape[1]}), out.at("t"), test.tolerance("default"));
  test.compare(table(result.head), out.at("head"), {});
  test.compare(table(result.step_index), out.at("step_index"), {});
  test.compare(table(result.key_range).view({-1, shape[1], 2}), out.at("key_chunk_range"), {});
}

void run_magi_timesteps(Case& test) {
  for (const json& call : test.calls()) {
    const std::string op = call.at("op");
    if (op == "time_table")
      run_time_table(test, call);
    else if (op == "stage_table")
      run_stage_table(test, call);
    else if (op == "run_table")
      run_run_table(test, call);
    else
      test.fail("unknown op " + op);
  }
}

}  // namespace

void register_schedule(Handlers& handlers) {
  handlers["step-matrix"] = run_step_matrix;
  handlers["magi-timesteps"] = run_magi_timesteps;
}

}  // namespace golden
