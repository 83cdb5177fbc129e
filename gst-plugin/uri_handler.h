// SPDX-License-Identifier: LGPL-2.1-or-later
// The element as a URI: flowcache:?prompt=orange%20fire&seed=3&is-live=false
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

/// GstURIHandler for an element. A parameter is a property of this element, or num-buffers, as text; one that
/// a URI does not name stays as it is. A URI sets all of its parameters or none, and only in NULL and READY.
/// The URI of an element names the properties that are not at their default, so that the stream's id depends
/// on what it shows.
void install_uri_handler(gpointer interface, gpointer data);

}  // namespace flowcache::gst
