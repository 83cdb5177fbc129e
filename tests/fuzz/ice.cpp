// SPDX-License-Identifier: LGPL-2.1-or-later
// STUN and TURN servers: the Link header of a WHIP server, and a server's address. What is accepted comes back the same when
// it is written for webrtcbin.
#include "ice.h"

#include <libsoup/soup.h>

#include "fuzz.h"

namespace {

using namespace flowcache::live;
namespace fuzz = flowcache::fuzz;

void check(const IceServer& server) {
  FUZZ_REQUIRE(server.port > 0 && server.port < 65536 && !server.host.empty());
  FUZZ_REQUIRE(server.scheme == "stun" || server.scheme == "turn" || server.scheme == "turns");
  const std::string address = address_for_webrtcbin(server);
  std::string problem;
  const auto again = parse_ice_server(address, &problem);
  FUZZ_REQUIRE_WITH(again.has_value(), problem);
  FUZZ_REQUIRE_WITH(again->scheme == server.scheme && again->host == server.host &&
                        again->port == server.port && again->transport == server.transport,
                    address);
  if (server.scheme != "stun")
    FUZZ_REQUIRE_WITH(again->user == server.user && again->password == server.password, address);
  json_for_browser(server).dump(-1, ' ', false, Json::error_handler_t::strict);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(fuzz::text_of(data, size));
  std::string problem;
  if (const auto server = parse_ice_server(text, &problem)) {
    FUZZ_REQUIRE(problem.empty());
    check(*server);
  } else {
    FUZZ_REQUIRE(!problem.empty());
  }
  std::vector<std::string> links;  // as exchange.cpp takes them out of a header
  GSList* list = soup_header_parse_list(text.c_str());
  for (GSList* one = list; one != nullptr; one = one->next) links.emplace_back(static_cast<char*>(one->data));
  soup_header_free_list(list);
  for (const IceServer& server : ice_servers_of_links(links)) check(server);
  return 0;
}
