// SPDX-License-Identifier: LGPL-2.1-or-later
// A stand-in for libnvcuvid.so.1, without which GStreamer's nvcodec plugin does not even register cudaupload
// and cudadownload. Nothing in it works.
#define REFUSED(name) \
  int name() {        \
    return 801;       \
  }

extern "C" {
REFUSED(cuvidCreateDecoder)
REFUSED(cuvidReconfigureDecoder)
REFUSED(cuvidDestroyDecoder)
REFUSED(cuvidDecodePicture)
REFUSED(cuvidGetDecoderCaps)
REFUSED(cuvidMapVideoFrame64)
REFUSED(cuvidUnmapVideoFrame64)
REFUSED(cuvidCreateVideoParser)
REFUSED(cuvidParseVideoData)
REFUSED(cuvidDestroyVideoParser)
REFUSED(cuvidCtxLock)
REFUSED(cuvidCtxLockCreate)
REFUSED(cuvidCtxLockDestroy)
REFUSED(cuvidCtxUnlock)
}
