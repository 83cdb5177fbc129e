// SPDX-License-Identifier: LGPL-2.1-or-later
// STUN and TURN servers (RFC 8489, RFC 8656), with which a connection gets through routers. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "feed.h"

namespace flowcache::live {

struct IceServer {
  std::string scheme;          ///< stun, turn or turns
  std::string host;            ///< a name or an address; of IPv6 without brackets
  unsigned port = 0;           ///< never 0
  std::string transport;       ///< to a TURN server: udp or tcp; empty: as the scheme has it
  std::string user, password;  ///< of turn and turns
};

/// "stun:HOST[:PORT]", "turn:HOST[:PORT][?transport=udp|tcp]" and the same with turns (RFC 7064, RFC 7065);
/// "//" and "USER:PASSWORD@", with percent signs for what would be misread, may stand before HOST. None and a
/// sentence if it is not that; who has no user gets one by other means.
std::optional<IceServer> parse_ice_server(const std::string& text, std::string* problem);

/// The servers of WHIP's Link headers (RFC 9725, 4.6); what is none is left out.
std::vector<IceServer> ice_servers_of_links(const std::vector<std::string>& links);

/// A user and password that a TURN server with this shared secret takes until so many seconds since 1970:
/// coturn calls it use-auth-secret.
void set_passing_credentials(IceServer& server, const std::string& secret, gint64 until);

/// As webrtcbin has it: scheme://USER:PASSWORD@HOST:PORT?transport=…
std::string address_for_webrtcbin(const IceServer& server);
/// As RTCPeerConnection's iceServers has it.
Json json_for_browser(const IceServer& server);

}  // namespace flowcache::live
