// SPDX-License-Identifier: LGPL-2.1-or-later
// cuDNN's convolution on the fake GPU. Its plans cannot be made without a GPU, so LibTorch's own call of it is replaced: the
// result is allocated in the shape and the layout that cuDNN gives, and one launch is counted.
#pragma once

namespace fake_gpu_test {

// Switches cuDNN's convolutions off until use_cudnn() is called.
void refuse_cudnn();
// From now on LibTorch takes cuDNN for its convolutions on the GPU. Call it when LibTorch's CUDA half is open, which
// registers its own function when it is loaded; later calls do nothing.
void use_cudnn();

}  // namespace fake_gpu_test
