// SPDX-License-Identifier: LGPL-2.1-or-later
// Between libflowcache and its own command-line tool: what `flowcache inspect` prints beyond
// fc_model_describe(). Not installed, and not part of the stable API.
#pragma once

#include "flowcache.h"

#ifdef __cplusplus
extern "C" {
#endif

// A JSON object about a model, of which no weights are read and no file but model.json needs to be there:
//   folder, license
//   files   [{section, name, source, present, bytes}]   everything that model.json names
//   words   [text]                                      the vocabulary, if it is a closed one
//   memory  [{what, bytes, on_host}]                    the preflight: the model and one stream as model.json
//   has it
// device, precision: as in fc_engine_config, and "gpu" for a GPU that need not be there. The text belongs to
// the calling thread until its next call. Errors: as fc_model_describe(), FC_ERROR_DEVICE.
FC_API fc_status fc_model_report(const char* model, const char* device, const char* precision,
                                 const char** json);

#ifdef __cplusplus
}
#endif
