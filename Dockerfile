# SPDX-License-Identifier: LGPL-2.1-or-later
# flowcache-live in a container, for CPU or, with --build-arg DEVICE=cuda, for NVIDIA GPUs as well:
#
#   docker build -t flowcache .
#   docker run --rm --network host -e TOKEN=choose-a-secret flowcache --prompt "orange fire"
#
# then open http://127.0.0.1:8080/#token=choose-a-secret. Options behind the image's name go to flowcache-live.
# --network host: WebRTC sends to whatever address a viewer names, and container networks hide those. For a GPU add
# --gpus all (NVIDIA Container Toolkit).

FROM debian:12 AS build
ARG DEVICE=cpu
# DEVICE=cuda: the host's driver, which is not seen while the image is built. Below 580 also FLOWCACHE_TORCH_INDEX
# (tools/setup.sh).
ARG DRIVER=580.0
ARG FLOWCACHE_TORCH_INDEX=
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /opt/flowcache
# What changes seldom comes first, so that a changed source file repeats neither packages nor LibTorch.
COPY tools/setup.sh tools/resources.sh tools/
RUN source tools/setup.sh && setup_packages ca-certificates python3-pip libsoup-3.0-dev prometheus-cpp-dev
RUN source tools/setup.sh && mkdir -p deps && nvidia_driver_answers() { [[ $DEVICE == cuda ]]; } \
 && nvidia_driver_version() { echo "$DRIVER"; } && setup_libtorch
COPY . .
RUN meson setup build -Dunity=on -Dunity_size=8 -Dprefix=/usr -Dtests=false -Dbench=disabled -Dlive=enabled && ninja -C build \
 && DESTDIR=/stage meson install -C build --no-rebuild --quiet

FROM debian:12-slim
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends curl libgomp1 libgdk-pixbuf-2.0-0 libgstreamer-plugins-bad1.0-0 \
      libprometheus-cpp-core1.0 libhwy1 libsentencepiece0 libsoup-3.0-0 gstreamer1.0-libav gstreamer1.0-nice \
      gstreamer1.0-plugins-bad gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly \
      gstreamer1.0-tools \
 && rm -rf /var/lib/apt/lists/* && useradd --create-home flowcache
# The engine looks for LibTorch where it was built against it; LibTorch for NVIDIA's libraries beside itself.
COPY --from=build /opt/flowcache/deps/libtorch/torch/lib /opt/flowcache/deps/libtorch/torch/lib
COPY --from=build /opt/flowcache/deps/libtorch/nvidia /opt/flowcache/deps/libtorch/nvidia
COPY --from=build /stage /
USER flowcache
ENV GOMP_SPINCOUNT=1000
EXPOSE 8080
HEALTHCHECK --start-period=60s CMD curl -fsS http://127.0.0.1:8080/healthz
ENTRYPOINT ["/bin/bash", "-c", "exec flowcache-live --bind 0.0.0.0 --token \"${TOKEN:?set TOKEN to a secret of 8 characters or more}\" \"$@\"", "-"]
