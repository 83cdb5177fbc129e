// SPDX-License-Identifier: LGPL-2.1-or-later
#include "output.h"

#ifdef FLOWCACHE_CUDA
#include <dlfcn.h>
// GStreamer 1.24 has one header for all of these, but the single ones still exist.
#include <gst/cuda/cuda-gst.h>
#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#endif

#include <atomic>
#include <charconv>

#include "engine.h"

namespace flowcache::gst {

#ifdef FLOWCACHE_CUDA

namespace {

// ---- contexts

// Makes a context current while it exists.
class CurrentContext {
 public:
  explicit CurrentContext(GstCudaContext* context) : pushed_(gst_cuda_context_push(context)) {}
  ~CurrentContext() {
    if (pushed_) gst_cuda_context_pop(nullptr);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  bool pushed_;
};

// Functions of the driver that libgstcuda does not load; null if an old driver does not have them.
struct DriverCalls {
  CUresult (*retain)(CUcontext*, CUdevice) = nullptr;
  CUresult (*release)(CUdevice) = nullptr;
  CUresult (*memory)(size_t* free, size_t* total) = nullptr;
};

const DriverCalls& driver_calls() {
  static const DriverCalls calls = [] {
    DriverCalls found;
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);  // libgstcuda keeps it open
    if (driver == nullptr) return found;
    found.retain = reinterpret_cast<decltype(found.retain)>(dlsym(driver, "cuDevicePrimaryCtxRetain"));
    found.release = reinterpret_cast<decltype(found.release)>(dlsym(driver, "cuDevicePrimaryCtxRelease_v2"));
    found.memory = reinterpret_cast<decltype(found.memory)>(dlsym(driver, "cuMemGetInfo_v2"));
    if (found.release == nullptr) found.retain = nullptr;
    return found;
  }();
  return calls;
}

// device: its number plus one, because GLib takes null for no data.
void release_primary(gpointer device) {
  driver_calls().release(GPOINTER_TO_INT(device) - 1);
}

// 0 for "auto" and "cuda", N for "cuda:N".
int cuda_device_number(const std::string& device) {
  int number = 0;
  const auto colon = device.find(':');
  if (colon != std::string::npos) {
    std::from_chars(device.data() + colon + 1, device.data() + device.size(), number);
  }
  return number;
}

// Bytes on the device of a context: in use by all processes, and in total. Returns false if the driver does
// not say.
bool device_memory_of(GstCudaContext* context, guint64* used, guint64* total) {
  const CurrentContext current(context);
  size_t free = 0, all = 0;
  if (driver_calls().memory == nullptr || driver_calls().memory(&free, &all) != CUDA_SUCCESS) return false;
  *used = all - free;
  *total = all;
  return true;
}

// The primary context of a device, which LibTorch uses. Owned by the caller; null if the device is missing
// or the driver is too old. It is released when the last memory has released the GstCudaContext.
GstCudaContext* wrap_primary_context(int number) {
  const DriverCalls& calls = driver_calls();
  CUdevice device = 0;
  CUcontext handle = nullptr;
  if (calls.retain == nullptr || CuInit(0) != CUDA_SUCCESS || CuDeviceGet(&device, number) != CUDA_SUCCESS ||
      calls.retain(&handle, device) != CUDA_SUCCESS) {
    return nullptr;
  }
  GstCudaContext* context = gst_cuda_context_new_wrapped(handle, device);
  if (context == nullptr) {
    calls.release(device);
    return nullptr;
  }
  g_object_set_data_full(G_OBJECT(context), "flowcache-primary-context", GINT_TO_POINTER(device + 1),
                         release_primary);
  return context;
}

// ---- frames

struct ObjectUnref {
  void operator()(gpointer object) const { gst_object_unref(object); }
};
using PoolPtr = std::unique_ptr<GstBufferPool, ObjectUnref>;

GstCudaContext* context_of(GstBuffer* buffer) {
  GstMemory* memory = gst_buffer_peek_memory(buffer, 0);
  return gst_is_cuda_memory(memory) ? GST_CUDA_MEMORY_CAST(memory)->context : nullptr;
}

// Maps a frame while it exists.
class Mapped {
 public:
  Mapped(GstBuffer* buffer, const GstVideoInfo& info, int flags)
      : ok_(gst_video_frame_map(&video_, &info, buffer, static_cast<GstMapFlags>(flags))) {}
  ~Mapped() {
    if (ok_) gst_video_frame_unmap(&video_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  bool ok() const { return ok_; }
  GstVideoFrame* frame() { return &video_; }

 private:
  GstVideoFrame video_{};
  bool ok_;
};

fc_status cannot_map(std::string* error) {
  *error = "CUDA memory cannot be mapped: the device is out of memory or its context is gone.";
  return FC_ERROR_DEVICE;
}

fc_status write_mapped(GstBuffer* buffer, const GstVideoInfo& info, int flags, fc_memory memory,
                       const PlaneWriter& writer, std::string* error) {
  Mapped mapped(buffer, info, flags);
  if (!mapped.ok()) return cannot_map(error);
  return writer(planes_of(mapped.frame(), memory), error);
}

// Copies between contexts of one device, which unified addressing allows. Returns when the copy is done.
bool copy_planes(GstVideoFrame* from, GstVideoFrame* to, GstCudaContext* context) {
  const CurrentContext current(context);
  for (guint plane = 0; plane < GST_VIDEO_FRAME_N_PLANES(to); ++plane) {
    gint components[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component(to->info.finfo, plane, components);
    CUDA_MEMCPY2D copy{};
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = reinterpret_cast<CUdeviceptr>(GST_VIDEO_FRAME_PLANE_DATA(from, plane));
    copy.dstDevice = reinterpret_cast<CUdeviceptr>(GST_VIDEO_FRAME_PLANE_DATA(to, plane));
    copy.srcPitch = static_cast<size_t>(GST_VIDEO_FRAME_PLANE_STRIDE(from, plane));
    copy.dstPitch = static_cast<size_t>(GST_VIDEO_FRAME_PLANE_STRIDE(to, plane));
    copy.WidthInBytes = static_cast<size_t>(GST_VIDEO_FRAME_COMP_WIDTH(to, components[0]) *
                                            GST_VIDEO_FRAME_COMP_PSTRIDE(to, components[0]));
    copy.Height = static_cast<size_t>(GST_VIDEO_FRAME_COMP_HEIGHT(to, components[0]));
    if (CuMemcpy2D(&copy) != CUDA_SUCCESS) return false;
  }
  return CuStreamSynchronize(nullptr) == CUDA_SUCCESS;
}

}  // namespace

struct CudaOutput::Handles {
  ContextSlot<GstCudaContext> context;
  ContextSlot<GstCudaContext> primary;  // the engine's; from open() to release()
  std::atomic<guint64> copies{0};

  // ---- streaming thread only
  PoolPtr staging_pool;
  GstBuffer* staging = nullptr;  // in the primary context; used if frames go to another one

  void drop_staging() {
    gst_clear_buffer(&staging);
    if (staging_pool) gst_buffer_pool_set_active(staging_pool.get(), FALSE);
    staging_pool.reset();
  }
  bool stage(const GstVideoInfo& info);

  // The driver's handle of the engine's context; null if there is none.
  gpointer primary_handle() const {
    GstCudaContext* context = primary.ref();
    const gpointer handle = context == nullptr ? nullptr : gst_cuda_context_get_handle(context);
    gst_clear_object(&context);
    return handle;
  }
};

bool CudaOutput::Handles::stage(const GstVideoInfo& info) {
  if (staging != nullptr) return true;
  GstCaps* caps = gst_video_info_to_caps(&info);
  guint size = static_cast<guint>(info.size);
  GstCudaContext* engines = primary.ref();
  staging_pool.reset(configured_pool(gst_cuda_buffer_pool_new(engines), caps, &size, 1, 1, true));
  gst_object_unref(engines);
  gst_caps_unref(caps);
  return staging_pool && gst_buffer_pool_set_active(staging_pool.get(), TRUE) &&
         gst_buffer_pool_acquire_buffer(staging_pool.get(), &staging, nullptr) == GST_FLOW_OK;
}

CudaOutput::CudaOutput() : handles_(std::make_unique<Handles>()) {}
CudaOutput::~CudaOutput() {
  reset();
  release();
}

bool CudaOutput::driver_answers() {
  // If this call has failed, every other call of libgstcuda aborts the process.
  static const bool answers = [] {
    int devices = 0;
    if (!gst_cuda_load_library() || CuInit(0) != CUDA_SUCCESS) return false;
    if (CuDeviceGetCount(&devices) != CUDA_SUCCESS || devices == 0) return false;
    gst_cuda_memory_init_once();
    return true;
  }();
  return answers;
}

void CudaOutput::open(GstElement* element, const std::string& device) {
  if (device == "cpu" || !driver_answers()) return;
  Handles& h = *handles_;
  GstCudaContext* primary = wrap_primary_context(cuda_device_number(device));
  if (primary == nullptr) {
    GST_INFO_OBJECT(element, "no primary context for device \"%s\"", device.c_str());
    return;
  }
  h.primary.put(GST_CUDA_CONTEXT(gst_object_ref(primary)));
  const bool has_another = h.context.has();
  if (!has_another) h.context.put(GST_CUDA_CONTEXT(gst_object_ref(primary)));
  GstContext* context = has_another ? nullptr : gst_context_new_cuda_context(primary);
  gst_object_unref(primary);
  if (context == nullptr) return;
  gst_element_set_context(element, context);
  gst_element_post_message(element, gst_message_new_have_context(GST_OBJECT(element), context));
}

bool CudaOutput::prepare(GstElement* element) {
  if (!driver_answers()) return false;
  const bool found = handles_->context.ask([&](GstCudaContext** context) {
    return gst_cuda_ensure_element_context(element, -1, context) != FALSE;
  });
  if (found) return true;
  GST_INFO_OBJECT(element, "no CUDA context");
  return false;
}

GstBufferPool* CudaOutput::make_pool(GstBufferPool* offered, GstCaps* caps, guint* size, guint least,
                                     guint most) {
  PoolPtr theirs(offered);
  handles_->drop_staging();
  if (theirs && GST_IS_CUDA_BUFFER_POOL(theirs.get())) {
    if (GstBufferPool* pool = configured_pool(theirs.release(), caps, size, least, most, true)) return pool;
  }
  GstCudaContext* context = handles_->context.ref();
  if (context == nullptr) return nullptr;
  GstBufferPool* pool = gst_cuda_buffer_pool_new(context);
  gst_object_unref(context);
  return configured_pool(pool, caps, size, least, most, true);
}

fc_status CudaOutput::write(GstElement* element, GstBuffer* buffer, const GstVideoInfo& info, bool on_device,
                            const PlaneWriter& writer, MemoryPath* path, std::string* error) {
  Handles& h = *handles_;
  if (!on_device) {
    *path = MemoryPath::CudaUpload;
    const fc_status status = write_mapped(buffer, info, GST_MAP_WRITE, FC_MEMORY_HOST, writer, error);
    if (status != FC_OK) return status;
    // Uploads now and on this thread, instead of when downstream first reads the frame.
    return Mapped(buffer, info, GST_MAP_READ | GST_MAP_CUDA).ok() ? FC_OK : cannot_map(error);
  }
  GstCudaContext* theirs = context_of(buffer);
  const gpointer engines = h.primary_handle();
  const bool foreign =
      theirs != nullptr && engines != nullptr && gst_cuda_context_get_handle(theirs) != engines;
  if (!foreign) {
    *path = MemoryPath::Cuda;
    return write_mapped(buffer, info, GST_MAP_WRITE | GST_MAP_CUDA, FC_MEMORY_CUDA, writer, error);
  }
  *path = MemoryPath::CudaCopy;
  if (h.copies++ == 0) {
    GST_ELEMENT_WARNING(
        element, RESOURCE, SETTINGS,
        ("Downstream uses another CUDA context than the model, so every frame is copied once on the device. "
         "Set the pipeline's context before READY, or use an encoder that takes the source's, as "
         "nvautogpuh264enc does."),
        ("model's context %p, downstream's %p", engines, gst_cuda_context_get_handle(theirs)));
  }
  if (!h.stage(info)) return cannot_map(error);
  const fc_status status =
      write_mapped(h.staging, info, GST_MAP_WRITE | GST_MAP_CUDA, FC_MEMORY_CUDA, writer, error);
  if (status != FC_OK) return status;
  Mapped from(h.staging, info, GST_MAP_READ | GST_MAP_CUDA), to(buffer, info, GST_MAP_WRITE | GST_MAP_CUDA);
  if (!from.ok() || !to.ok()) return cannot_map(error);
  if (copy_planes(from.frame(), to.frame(), theirs)) return FC_OK;
  *error = "A frame cannot be copied into downstream's CUDA context: set one context for the pipeline.";
  return FC_ERROR_DEVICE;
}

bool CudaOutput::is_the_engines(GstBuffer* buffer) const {
  if (gst_buffer_n_memory(buffer) == 0) return false;
  GstCudaContext* context = context_of(buffer);
  const gpointer engines = handles_->primary_handle();
  return context != nullptr && engines != nullptr && gst_cuda_context_get_handle(context) == engines;
}

GstObject* CudaOutput::primary_context() const {
  GstCudaContext* primary = handles_->primary.ref();
  return primary == nullptr ? nullptr : GST_OBJECT(primary);
}

bool CudaOutput::device_memory(guint64* used, guint64* total) const {
  GstObject* primary = primary_context();
  if (primary == nullptr) return false;
  const bool known = device_memory_of(GST_CUDA_CONTEXT(primary), used, total);
  gst_object_unref(primary);
  return known;
}

guint64 CudaOutput::context_copies() const {
  return handles_->copies;
}

void CudaOutput::reset() {
  handles_->drop_staging();
  handles_->copies = 0;
}

void CudaOutput::release() {
  handles_->context.put(nullptr);
  handles_->primary.put(nullptr);
}

void CudaOutput::set_context(GstElement* element, GstContext* context) {
  if (!driver_answers()) return;
  GstCudaContext* now = handles_->context.ref();  // an existing context is not replaced
  gst_cuda_handle_set_context(element, context, -1, &now);
  if (now != nullptr) handles_->context.put(now);
}

bool CudaOutput::answer(GstElement* element, GstQuery* query) {
  GstCudaContext* context = handles_->context.ref();
  if (context == nullptr) return false;
  const bool answered = gst_cuda_handle_context_query(element, query, context);
  gst_object_unref(context);
  return answered;
}

#else  // no frames in CUDA memory

struct CudaOutput::Handles {};
CudaOutput::CudaOutput() = default;
CudaOutput::~CudaOutput() = default;
bool CudaOutput::driver_answers() {
  return false;
}
void CudaOutput::open(GstElement*, const std::string&) {}
bool CudaOutput::prepare(GstElement*) {
  return false;
}
GstBufferPool* CudaOutput::make_pool(GstBufferPool* offered, GstCaps*, guint*, guint, guint) {
  gst_clear_object(&offered);
  return nullptr;
}
fc_status CudaOutput::write(GstElement*, GstBuffer*, const GstVideoInfo&, bool, const PlaneWriter&,
                            MemoryPath*, std::string*) {
  return FC_ERROR_INTERNAL;
}
bool CudaOutput::is_the_engines(GstBuffer*) const {
  return false;
}
GstObject* CudaOutput::primary_context() const {
  return nullptr;
}
bool CudaOutput::device_memory(guint64*, guint64*) const {
  return false;
}
guint64 CudaOutput::context_copies() const {
  return 0;
}
void CudaOutput::reset() {}
void CudaOutput::release() {}
void CudaOutput::set_context(GstElement*, GstContext*) {}
bool CudaOutput::answer(GstElement*, GstQuery*) {
  return false;
}

#endif

}  // namespace flowcache::gst
