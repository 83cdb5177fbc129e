// SPDX-License-Identifier: LGPL-2.1-or-later
// An interface between libflowcache and its command-line tool, for flowcache adopt. It is not installed and not part of
// the stable API.
#pragma once

#include "flowcache.h"

#ifdef __cplusplus
extern "C" {
#endif

// Writes the model.json of what was downloaded (package/adopt.h) and checks every key of the parts that are there
// against the networks. request: a JSON object {given: [path], to, as, replace, sure}. sure: nothing is written, and the
// call fails with FC_ERROR_MODEL, if the model is a guess, or if it is not complete. Returns a JSON object: what adopt()
// returns, and
//   folder    of the model
//   missing   [{section, name, source}]
//   problems  [text]                      parts whose keys do not fit
// The text belongs to the calling thread and is valid until its next call. Errors: those of adopt().
FC_API fc_status fc_model_adopt(const char* request, const char** report);

#ifdef __cplusplus
}
#endif
