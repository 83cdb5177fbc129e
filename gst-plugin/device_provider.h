// SPDX-License-Identifier: LGPL-2.1-or-later
// Models as devices: `gst-device-monitor-1.0 Source/Video` lists one for each model that is installed.
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define FLOWCACHE_TYPE_DEVICE_PROVIDER (gst_flow_cache_device_provider_get_type())
GType gst_flow_cache_device_provider_get_type(void);

G_END_DECLS
