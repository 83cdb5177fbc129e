// SPDX-License-Identifier: LGPL-2.1-or-later
// The tokenizer without RTLD_DEEPBIND, which AddressSanitizer does not allow. A target without LibTorch needs it not.
#include <dlfcn.h>
#undef RTLD_DEEPBIND
#define RTLD_DEEPBIND 0
#include "engine/networks/text/sentencepiece_tokenizer.cpp"
