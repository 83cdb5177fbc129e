// SPDX-License-Identifier: LGPL-2.1-or-later
#include "server.h"

#include <algorithm>
#include <set>

namespace flowcache::live {
namespace {

constexpr const char* resource_root = "/flowcache/live";
constexpr const char* page_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' "
    "blob:; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

struct File {
  const char *path, *resource, *type;
};
constexpr File files[] = {
    {"/", "/index.html", "text/html; charset=utf-8"},
    {"/live.css", "/live.css", "text/css; charset=utf-8"},
    {"/live.js", "/live.js", "text/javascript; charset=utf-8"},
    {"/plots.js", "/plots.js", "text/javascript; charset=utf-8"},
    {"/picture.js", "/picture.js", "text/javascript; charset=utf-8"},
    {"/input.js", "/input.js", "text/javascript; charset=utf-8"},
    {"/openapi.json", "/openapi.json", "application/json"},
};
constexpr const char* readings[] = {"/api/stats", "/api/input.jpg", "/metrics", "/healthz"};
constexpr const char* writings[] = {"/api/prompt", "/api/settings", "/api/reset"};
constexpr const char* websocket = "/ws";

template <typename Paths>
bool is_among(const std::string& path, const Paths& paths) {
  return std::find(std::begin(paths), std::end(paths), path) != std::end(paths);
}

bool is_file(const std::string& path) {
  return std::any_of(std::begin(files), std::end(files), [&](const File& file) { return path == file.path; });
}

std::string header(SoupServerMessage* message, const char* name) {
  const char* value = soup_message_headers_get_one(soup_server_message_get_request_headers(message), name);
  return value == nullptr ? "" : value;
}

bool is_method(SoupServerMessage* message, const char* method) {
  return g_strcmp0(soup_server_message_get_method(message), method) == 0;
}

void respond(SoupServerMessage* message, unsigned status, const char* type, const std::string& body) {
  soup_server_message_set_status(message, status, nullptr);
  soup_server_message_set_response(message, type, SOUP_MEMORY_COPY, body.data(), body.size());
}

void respond(SoupServerMessage* message, const Reply& reply) {
  respond(message, reply.status, "application/json",
          reply.body.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void refuse_method(SoupServerMessage* message, const char* allowed) {
  soup_message_headers_replace(soup_server_message_get_response_headers(message), "Allow", allowed);
  respond(message, refusal(405, std::string("this takes ") + allowed));
}

// True for the page's files and /healthz. All other paths need the token.
bool is_open_to_all(const std::string& path) {
  return is_file(path) || path == "/healthz";
}

// True for GET and HEAD; other methods are refused. A path that answers GET answers HEAD too (RFC 9110,
// 9.3.2); soup leaves the body out.
bool only_reads(SoupServerMessage* message) {
  if (is_method(message, "GET") || is_method(message, "HEAD")) return true;
  refuse_method(message, "GET, HEAD");
  return false;
}

bool answer_file(SoupServerMessage* message, const std::string& path) {
  for (const File& file : files) {
    if (path != file.path) continue;
    if (!only_reads(message)) return true;
    GBytes* bytes = g_resources_lookup_data((std::string(resource_root) + file.resource).c_str(),
                                            G_RESOURCE_LOOKUP_FLAGS_NONE, nullptr);
    g_assert(bytes != nullptr);
    gsize size = 0;
    const auto* data = static_cast<const char*>(g_bytes_get_data(bytes, &size));
    respond(message, 200, file.type, std::string(data, size));
    g_bytes_unref(bytes);
    return true;
  }
  return false;
}

}  // namespace

Server::Server(ServerHost& host, const Options& options)
    : host_(host),
      options_(options),
      gate_{options.bind, options.token, options.public_site},
      server_(soup_server_new("server-header", "flowcache-live", nullptr)),
      limiter_(server_.get(), options.max_connections) {
  g_signal_connect(server_.get(), "request-started", G_CALLBACK(on_started), nullptr);
  soup_server_add_early_handler(server_.get(), "/", on_headers, this, nullptr);
  soup_server_add_handler(server_.get(), "/", on_request, this, nullptr);
  // A proxy may pass the public path on or strip it.
  for (const std::string& path : std::set<std::string>{websocket, options.public_site.path + websocket}) {
    soup_server_add_early_handler(server_.get(), path.c_str(), on_headers, this, nullptr);
    soup_server_add_websocket_handler(server_.get(), path.c_str(), nullptr, nullptr, on_websocket, this,
                                      nullptr);
  }
  // No compression: a few bytes of a request could become very many.
  soup_server_remove_websocket_extension(server_.get(), SOUP_TYPE_WEBSOCKET_EXTENSION_DEFLATE);
}

Server::~Server() {
  soup_server_disconnect(server_.get());
}

void Server::close_sessions() {
  for (const auto& session : std::list(sessions_))
    session->close(SOUP_WEBSOCKET_CLOSE_GOING_AWAY, "the stream is over");
}

// soup answers requests with unreadable headers by itself, without a body. This sets one.
void Server::on_started(SoupServer*, SoupServerMessage* message, gpointer) {
  static constexpr char body[] = "{\"error\":\"the headers of the request cannot be read\"}\n";
  soup_server_message_set_response(message, "application/json", SOUP_MEMORY_STATIC, body, sizeof body - 1);
}

void Server::on_headers(SoupServer*, SoupServerMessage* message, const char* path, GHashTable* query,
                        gpointer self) {
  auto* server = static_cast<Server*>(self);
  server->check(message, server->own_path(path), query);
}

// The path without the prefix of the public URL, if it has that.
std::string Server::own_path(const std::string& path) const {
  const std::string& prefix = options_.public_site.path;
  if (is_file(path) || is_among(path, readings) || is_among(path, writings) || prefix.empty()) return path;
  return path.rfind(prefix + "/", 0) == 0 ? path.substr(prefix.size()) : path;
}

// Checks the headers. If this sets a status, soup does not call on_request().
void Server::check(SoupServerMessage* message, const std::string& path, GHashTable* query) {
  soup_server_message_set_response(message, nullptr, SOUP_MEMORY_STATIC, nullptr, 0);
  SoupMessageHeaders* out = soup_server_message_get_response_headers(message);
  soup_message_headers_replace(out, "X-Content-Type-Options", "nosniff");
  soup_message_headers_replace(out, "Referrer-Policy", "no-referrer");
  soup_message_headers_replace(out, "Cross-Origin-Resource-Policy", "same-origin");
  soup_message_headers_replace(out, "Content-Security-Policy", page_policy);
  soup_message_headers_replace(out, "Cache-Control", "no-store");
  if (path != websocket) soup_message_headers_replace(out, "Connection", "close");
  const auto* asked =
      query == nullptr ? nullptr : static_cast<const char*>(g_hash_table_lookup(query, "token"));
  const Visitor visitor{header(message, "Host"), header(message, "Origin"), header(message, "Authorization"),
                        asked == nullptr ? "" : asked};
  SoupMessageHeaders* in = soup_server_message_get_request_headers(message);
  if (const std::string problem = refused_origin(gate_, visitor); !problem.empty()) {
    respond(message, refusal(403, problem));
  } else if (!is_open_to_all(path) && path != options_.public_site.path && !has_token(gate_, visitor)) {
    soup_message_headers_replace(out, "WWW-Authenticate", "Bearer");
    respond(message, refusal(401, "the token is missing or wrong"));
  } else if (soup_message_headers_get_content_length(in) > static_cast<goffset>(most_body)) {
    refuse_body(message);
  } else {
    g_signal_connect(message, "got-chunk", G_CALLBACK(on_chunk), this);
    return;
  }
  // The body of a refused request is not kept.
  soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
}

// For bodies whose length the headers do not tell.
void Server::on_chunk(SoupServerMessage* message, GBytes*, gpointer self) {
  SoupMessageBody* body = soup_server_message_get_request_body(message);
  if (body->length > static_cast<goffset>(most_body)) static_cast<Server*>(self)->refuse_body(message);
}

void Server::refuse_body(SoupServerMessage* message) {
  if (soup_server_message_get_status(message) != 0) return;
  soup_server_message_set_status(message, 413, nullptr);
  SoupMessageBody* body = soup_server_message_get_request_body(message);
  soup_message_body_set_accumulate(body, FALSE);
  soup_message_body_truncate(body);
  limiter_.cut_off(message, "413 Content Too Large",
                   "a body has at most " + std::to_string(most_body) + " bytes");
}

void Server::on_request(SoupServer*, SoupServerMessage* message, const char* path, GHashTable*,
                        gpointer self) {
  if (soup_server_message_get_status(message) != 0) return;
  auto* server = static_cast<Server*>(self);
  server->answer(message, server->own_path(path));
}

void Server::answer(SoupServerMessage* message, const std::string& path) {
  if (answer_file(message, path) || answer_api(message, path)) return;
  if (path == options_.public_site.path &&
      only_reads(message)) {  // the page's links are relative to the path with a slash at its end
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Location",
                                 (path + "/").c_str());
    soup_server_message_set_status(message, SOUP_STATUS_PERMANENT_REDIRECT, nullptr);
    return;
  }
  respond(message, refusal(404, "there is nothing here"));
}

bool Server::answer_api(SoupServerMessage* message, const std::string& path) {
  const bool reads = is_among(path, readings), writes = is_among(path, writings);
  if (!reads && !writes) return false;
  if (reads && !only_reads(message)) return true;
  if (writes && !is_method(message, "POST")) {
    refuse_method(message, "POST");
  } else if (path == "/api/stats") {
    respond(message, {200, host_.stats()});
  } else if (path == "/metrics") {
    respond(message, 200, "text/plain; version=0.0.4; charset=utf-8", host_.metrics());
  } else if (path == "/api/input.jpg") {
    const std::string picture = host_.input_picture();
    if (picture.empty()) return respond(message, refusal(404, "there is no picture of an input")), true;
    respond(message, 200, "image/jpeg", picture);
  } else if (path == "/healthz") {
    const std::string problem = host_.not_ready();
    respond(message, problem.empty() ? Reply{200, {{"ready", true}}} : refusal(503, problem));
  } else {
    respond(message, post(message, path));
  }
  return true;
}

Reply Server::post(SoupServerMessage* message, const std::string& path) {
  // A page of another origin cannot send this content type without a CORS preflight, which is not answered.
  const char* type =
      soup_message_headers_get_content_type(soup_server_message_get_request_headers(message), nullptr);
  if (type == nullptr || g_ascii_strcasecmp(type, "application/json") != 0)
    return refusal(415, "Content-Type has to be application/json");
  const SoupMessageBody* body = soup_server_message_get_request_body(message);
  std::string problem;
  const auto request =
      parse_object(std::string(body->data == nullptr ? "" : body->data, body->length), &problem);
  if (!request) return refusal(400, problem);
  if (request->contains("type")) return refusal(400, "there is no field \"type\"");
  if (path == "/api/prompt") return host_.commands().prompt(*request);
  return path == "/api/settings" ? host_.commands().settings(*request) : host_.commands().reset(*request);
}

void Server::on_websocket(SoupServer*, SoupServerMessage* message, const char*,
                          SoupWebsocketConnection* connection, gpointer data) {
  auto* self = static_cast<Server*>(data);
  GSocketConnection* socket = self->limiter_.keep(message);
  if (socket == nullptr) return;
  self->sessions_.push_back(std::make_shared<Session>(
      self->host_, connection, socket, [self](Session* session) { self->session_closed(session); }));
  self->sessions_.back()->start();
}

void Server::session_closed(Session* session) {
  // The session is released later, since one of its functions is running now.
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    if (it->get() != session) continue;
    on_main([kept = *it] {});
    sessions_.erase(it);
    return;
  }
}

}  // namespace flowcache::live
