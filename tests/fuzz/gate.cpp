// SPDX-License-Identifier: LGPL-2.1-or-later
// The headers that decide whether a request is let in, one a line: Host, Origin, Authorization, the query's token, and the
// address that --public-url gives. Nobody from elsewhere comes in, and nobody without the token.
#include "gate.h"

#include "fuzz.h"

namespace {

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c += 32;
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace flowcache;
  using namespace flowcache::live;
  std::string_view rest = fuzz::text_of(data, size);
  Visitor visitor;
  for (std::string* field : {&visitor.host, &visitor.origin, &visitor.authorization, &visitor.query_token}) {
    *field = fuzz::take_until(rest, '\n');
    field->erase(std::min(field->size(), field->find('\0')));  // headers are C strings
  }
  const std::string secret = "12345678";
  const std::string url(rest.substr(0, rest.find('\0')));
  Gate gate{"127.0.0.1", secret, {}};
  if (const auto site = parse_site(url)) {
    FUZZ_REQUIRE(!site->name.empty() && site->origin.starts_with("http"));
    FUZZ_REQUIRE_WITH(site->path.empty() || (site->path.front() == '/' && site->path.back() != '/'),
                      site->path);
    const auto again = parse_site(site->origin);
    FUZZ_REQUIRE_WITH(again && again->origin == site->origin && again->name == site->name, site->origin);
    gate.site = *site;
  }
  if (refused_origin(gate, visitor).empty() && !visitor.origin.empty()) {
    const std::string origin = lower(visitor.origin), host = lower(visitor.host);
    FUZZ_REQUIRE(origin == gate.site.origin || origin.ends_with("://" + host));
  }
  const bool token_in_query = visitor.query_token == secret;
  const bool token_in_header =
      lower(visitor.authorization.substr(0, 7)) == "bearer " && visitor.authorization.substr(7) == secret;
  FUZZ_REQUIRE(has_token(gate, visitor) == (token_in_query || token_in_header));
  return 0;
}
