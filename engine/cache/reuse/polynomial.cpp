// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/polynomial.h"

#include <stdexcept>

namespace flowcache {
namespace {

struct NamedPolynomial {
  const char* name;
  std::vector<double> coefficients;
};

// Published with TeaCache; valid only within the range of changes they were fitted on.
const std::vector<NamedPolynomial>& polynomial_table() {
  static const std::vector<NamedPolynomial> all = {
      {"none", {}},
      {"wan_1.3b", {-52186.2437, 9230.41404, -528.275948, 13.6987616, -0.0499875664}},
      {"wan_14b", {-303318.725, 49053.7029, -2655.30556, 58.7365115, -0.315583525}},
      {"wan_i2v_480p", {257151.496, -35422.9917, 1402.86849, -13.5890334, 0.132517977}},
      {"wan_i2v_720p", {8107.05460, 2133.93892, -372.934672, 16.6203073, -0.0417769401}},
      {"wan_1.3b_e", {2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774}},
      {"wan_14b_e", {-5784.54975374, 5449.50911966, -1811.16591783, 256.27178429, -13.02252404}},
      {"wan_i2v_480p_e", {-302.331670, 223.948934, -52.5463970, 5.87348440, -0.201973289}},
      {"wan_i2v_720p_e", {-114.36346466, 65.26524496, -18.82220707, 4.91518089, -0.23412683}},
      {"hunyuan", {733.226126, -401.131952, 67.5869174, -3.14987800, 0.0961237896}},
      {"opensora", {217.546007, -118.329252, 26.8662585, -0.0459364272, 0.0484426240}},
      {"opensora_plan", {205943.668, -14875.9286, 306.085986, 1.31418080, 0.00239658469}},
      {"cogvideox_2b", {-31.0658903, 25.4732368, -5.92380459, 1.75769064, -0.00361568434}},
      {"cogvideox_5b", {-1538.80483, 843.202495, -134.363087, 7.97131516, -0.0523162339}},
      {"mochi", {-3512.41319, 811.675948, -60.9400215, 2.42429681, 0.00305291719}},
      {"ltx", {21.4700694, -12.8016453, 2.31279151, 0.792487521, 0.00969274326}},
      {"cosmos", {271.156237, -91.9775607, 2.24437250, 2.08355751, 0.141776330}},
      {"latte", {-2464.34137, 308.044764, 80.7447667, -4.11385132, 0.111001402}},
      {"flux", {498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861}},
  };
  return all;
}

}  // namespace

const std::vector<double>& polynomial(const std::string& name) {
  for (const NamedPolynomial& one : polynomial_table())
    if (name == one.name) return one.coefficients;
  throw std::out_of_range("no polynomial " + name);
}

std::vector<std::string> polynomial_names() {
  std::vector<std::string> names;
  for (const NamedPolynomial& one : polynomial_table()) names.emplace_back(one.name);
  return names;
}

double evaluate(std::span<const double> coefficients, double x) {
  if (coefficients.empty()) return x;
  double sum = 0;
  for (const double c : coefficients) sum = sum * x + c;
  return sum;
}

}  // namespace flowcache
