// SPDX-License-Identifier: LGPL-2.1-or-later
// Precompiled: what nearly every file of the engine includes.
#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
