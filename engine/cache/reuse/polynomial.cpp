// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/polynomial.h"

#include <stdexcept>

namespace flowcache {
namespace {

struct NamedPolynomial {
  const char* name;
  std::vector<double> coefficients;
};

// TeaCache's published polynomials, for models that this engine can load. They are valid only within the
// range of changes that they were fitted on.
const std::vector<NamedPolynomial>& polynomial_table() {
  static const std::vector<NamedPolynomial> all = {
      {"none", {}},
      {"wan_1.3b", {-52186.2437, 9230.41404, -528.275948, 13.6987616, -0.0499875664}},
      {"wan_14b", {-303318.725, 49053.7029, -2655.30556, 58.7365115, -0.315583525}},
      {"wan_1.3b_e", {2396.76752, -1311.10545, 201.331979, -8.29855975, 0.137887774}},
      {"wan_14b_e", {-5784.54975374, 5449.50911966, -1811.16591783, 256.27178429, -13.02252404}},
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
