// SPDX-License-Identifier: LGPL-2.1-or-later
// Prints the levels of instructions that this processor has (FLOWCACHE_MAX_CPU_ISA), lowest first, a line
// each.
#include <cstdio>

#include "cpu_isa.h"

int main() {
  for (const flowcache::CpuIsa isa : flowcache::known_isas())
    if (isa <= flowcache::processor_isa()) std::puts(flowcache::name_of(isa));
}
