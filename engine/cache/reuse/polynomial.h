// SPDX-License-Identifier: LGPL-2.1-or-later
// TeaCache's polynomials (arXiv 2411.19108): they map the change of a model's input signal to the change of
// its output.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace flowcache {

// Coefficients, highest power first; empty: the distance is taken as it is. Throws std::out_of_range for an
// unknown name.
const std::vector<double>& polynomial(const std::string& name);
// All names, "none" first. A name without suffix is fitted on e0 (the timestep modulation), one with _e on
// the timestep embedding; those of models without either are fitted on the first block's modulated input.
std::vector<std::string> polynomial_names();
double evaluate(std::span<const double> coefficients, double x);

}  // namespace flowcache
