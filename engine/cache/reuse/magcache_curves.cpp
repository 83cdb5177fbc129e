// SPDX-License-Identifier: LGPL-2.1-or-later
// The magnitude ratios that MagCache published (conditional branch, 50 steps), and curves that are read from
// files.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cache/reuse/magcache.h"

namespace flowcache {
namespace {

struct NamedCurve {
  const char* name;
  std::vector<double> ratios;
};

const std::vector<NamedCurve>& curve_table() {
  static const std::vector<NamedCurve> all = {
      {"wan_1.3b", {1.0,    1.0124, 1.00166, .99791, .99682, .99634, .99567, .99416, .99578, .9957,
                    .99511, .99535, .99552,  .99541, .9954,  .99489, .99518, .99484, .99481, .99415,
                    .99419, .99396, .99388,  .99349, .99309, .9927,  .99228, .99171, .99137, .99068,
                    .99005, .98944, .98849,  .98758, .98644, .98504, .9836,  .98202, .97977, .97717,
                    .9741,  .97003, .96538,  .9593,  .95086, .94013, .92402, .90241, .86821, .81838}},
      {"wan_14b", {1.0,    1.02504, 1.00025, .9985,  .99779, .9966,  .99482, .99467, .99664, .99434,
                   .99533, .99468,  .99438,  .99516, .99384, .99404, .99517, .99409, .99428, .99347,
                   .99418, .99271,  .99313,  .99215, .99218, .99216, .99163, .99138, .98982, .98996,
                   .9887,  .98772,  .98767,  .98573, .98501, .9838,  .98177, .98037, .97678, .97546,
                   .97184, .96711,  .96349,  .95629, .94926, .93964, .92511, .90693, .8796,  .86111}},
  };
  return all;
}

}  // namespace

std::vector<std::string> curve_names() {
  std::vector<std::string> names;
  for (const NamedCurve& one : curve_table()) names.emplace_back(one.name);
  return names;
}

const std::vector<double>& curve(const std::string& name) {
  for (const NamedCurve& one : curve_table())
    if (name == one.name) return one.ratios;
  throw Error(FC_ERROR_NOT_FOUND, "no MagCache curve \"" + name + "\"");
}

std::vector<double> read_curve(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) throw Error(FC_ERROR_NOT_FOUND, "MagCache curve " + file + " cannot be opened");
  const auto bad = [&](const std::string& why) {
    return Error(FC_ERROR_ARGUMENT,
                 "MagCache curve " + file + " " + why +
                     ": it must be a JSON array of at least 2 positive numbers, one for each step");
  };
  nlohmann::json json = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("magcache")) json = nlohmann::json(json.at("magcache"));
  if (!json.is_array()) throw bad("holds no array");
  if (json.size() < 2) throw bad("holds " + std::to_string(json.size()) + " numbers");
  std::vector<double> ratios;
  for (const auto& one : json) {
    if (!one.is_number() || !(one.get<double>() > 0) || !std::isfinite(one.get<double>()))
      throw bad("holds " + one.dump(-1, ' ', /*ensure_ascii=*/true).substr(0, 80));
    ratios.push_back(one.get<double>());
  }
  return ratios;
}

}  // namespace flowcache
