// SPDX-License-Identifier: LGPL-2.1-or-later
// STUN and TURN servers (RFC 8489, RFC 8656), which help connections through routers. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "feed.h"

namespace flowcache::live {

struct IceServer {
  std::string scheme;          // stun, turn or turns
  std::string host;            // a name or an address; IPv6 without brackets
  unsigned port = 0;           // never 0
  std::string transport;       // for TURN servers: udp or tcp; empty: the scheme's default
  std::string user, password;  // for turn and turns
};

// True for what can stand as a host in an address as it is: a name, or an IP address without brackets.
bool is_host(const std::string& text);

// "stun:HOST[:PORT]", "turn:HOST[:PORT][?transport=udp|tcp]" and the same with turns (RFC 7064, RFC 7065);
// "//" and "USER:PASSWORD@" may stand before HOST, with percent-encoding where it is needed. Returns none
// and a sentence if the text has another form. A TURN server without a user needs set_passing_credentials().
std::optional<IceServer> parse_ice_server(const std::string& text, std::string* problem);

// The servers in the Link headers of WHIP (RFC 9725, 4.6). Other links are left out.
std::vector<IceServer> ice_servers_of_links(const std::vector<std::string>& links);

// Sets a user and a password that a TURN server with this shared secret accepts until the time `until`, in
// seconds since 1970. coturn's name for it is use-auth-secret.
void set_passing_credentials(IceServer& server, const std::string& secret, gint64 until);

// The form that webrtcbin takes: scheme://USER:PASSWORD@HOST:PORT?transport=…
std::string address_for_webrtcbin(const IceServer& server);
// The form of the iceServers of a browser's RTCPeerConnection.
Json json_for_browser(const IceServer& server);

}  // namespace flowcache::live
