// SPDX-License-Identifier: LGPL-2.1-or-later
// LibTorch's settings for GPUs hold for the whole process, and some of them are not what the engine promises.
#pragma once

namespace flowcache {

// While one exists:
//   fp32 products and convolutions on a GPU are computed in fp32. LibTorch's default for convolutions is TF32, which has
//   fp32's range and a tenth of its digits;
//   cuDNN chooses its algorithms by rules. If the program has switched on that it tries them out instead, each new
//   shape would take seconds in the middle of a stream.
// The program's own settings hold again after the last one is gone. A setting that the program changes meanwhile is
// lost then. Any thread.
class LibTorchSettings {
 public:
  LibTorchSettings();
  ~LibTorchSettings();
  LibTorchSettings(const LibTorchSettings&) = delete;
  LibTorchSettings& operator=(const LibTorchSettings&) = delete;
};

}  // namespace flowcache
