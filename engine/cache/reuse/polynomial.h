// SPDX-License-Identifier: LGPL-2.1-or-later
// TeaCache's polynomials (arXiv 2411.19108). They map the change of a model's input signal to the change of
// its output.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace flowcache {

// The coefficients of this name, highest power first; empty for "none". Throws std::out_of_range for an
// unknown name.
const std::vector<double>& polynomial(const std::string& name);
// All names, "none" first. A name without suffix was fitted on the timestep modulation (e0), a name that ends
// with _e on the timestep embedding.
std::vector<std::string> polynomial_names();
double evaluate(std::span<const double> coefficients, double x);

}  // namespace flowcache
