#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# link_names.sh LIBRARY FOLDER: the names under which LibTorch looks for NVIDIA's libraries, all of them one.
set -eu
mkdir -p "$2"
for name in cublas.so.13 cublasLt.so.13 cudnn.so.9 cusparse.so.12 cufft.so.12 cufile.so.0 cusparseLt.so.0 nccl.so.2 \
  curand.so.10 nvshmem_host.so.3 nvrtc.so.13 cuda.so.1; do
  ln -sf "$(realpath "$1")" "$2/lib$name"
done
touch "$2/made"
