// SPDX-License-Identifier: LGPL-2.1-or-later
#include "options.h"

#include <gio/gio.h>

#include <cstdio>
#include <vector>

#include "handles.h"

namespace flowcache::live {
namespace {

constexpr const char* description =
    "One generated stream, watched in browsers by WebRTC and steered from the page. Open the printed "
    "address.\n"
    "Also there: GET /api/stats, POST /api/prompt, GET /openapi.json, GET /metrics, GET /healthz.";

// The variables that GOption fills.
struct Raw {
  char *prompt = nullptr, *model = nullptr, *cache = nullptr, *devices = nullptr, *workers_at = nullptr,
       *on_lost_rank = nullptr, *bind = nullptr, *token = nullptr, *size = nullptr, *turn_secret = nullptr,
       *tls_cert = nullptr, *tls_key = nullptr, *public_url = nullptr, *rtmp = nullptr, *srt = nullptr,
       *whip = nullptr, *whip_token = nullptr, *input = nullptr;
  char **stun = nullptr, **turn = nullptr;
  double cache_threshold = -1, strength = -1;
  gint64 seed = 1;
  int port = 8080, seconds = 0, max_viewers = 16, max_connections = 64, bitrate = 1500;

  ~Raw() {
    for (char* text : {prompt, model, cache, devices, workers_at, on_lost_rank, size, bind, token,
                       turn_secret, tls_cert, tls_key, public_url, rtmp, srt, whip, whip_token, input}) {
      g_free(text);
    }
    g_strfreev(stun);
    g_strfreev(turn);
  }
};

bool parse_raw(int argc, char** argv, Raw& raw, std::string* error) {
  const GOptionEntry entries[] = {
      {"prompt", 'p', 0, G_OPTION_ARG_STRING, &raw.prompt, "what to show first", "TEXT"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &raw.seed, "another seed, another video (default 1)", "N"},
      {"model", 0, 0, G_OPTION_ARG_STRING, &raw.model,
       "folder with a model.json (default: the one that ships)", "FOLDER"},
      {"size", 0, 0, G_OPTION_ARG_STRING, &raw.size, "of the picture (default: the model's own)", "WxH"},
      {"cache", 0, 0, G_OPTION_ARG_STRING, &raw.cache,
       "which steps reuse earlier results, as `cache` of flowcachesrc (default: those that there is no time "
       "to "
       "compute)",
       "POLICY"},
      {"cache-threshold", 0, 0, G_OPTION_ARG_DOUBLE, &raw.cache_threshold,
       "as `cache-threshold` of flowcachesrc", "X"},
      {"input", 0, 0, G_OPTION_ARG_STRING, &raw.input,
       "repaint a live picture: the camera of a browser that shares it on the page, a test picture, a file, "
       "or "
       "a "
       "file:, rtsp:, http:, https: or srt: address",
       "camera|test|FILE|URL"},
      {"strength", 0, 0, G_OPTION_ARG_DOUBLE, &raw.strength,
       "how much of the input is painted over: 0 shows it, 1 ignores it (default 0.8)", "X"},
      {"devices", 0, 0, G_OPTION_ARG_STRING, &raw.devices,
       "devices that share each chunk, as `devices` of flowcachesrc", "cuda:0,cuda:1"},
      {"workers-at", 0, 0, G_OPTION_ARG_STRING, &raw.workers_at,
       "where workers of other machines may join, as `listen` of flowcachesrc", "HOST:PORT"},
      {"on-lost-rank", 0, 0, G_OPTION_ARG_STRING, &raw.on_lost_rank,
       "when one of the devices is lost: go_on with the others (default), or end", "WHAT"},
      {"bind", 0, 0, G_OPTION_ARG_STRING, &raw.bind,
       "address to listen on (default 127.0.0.1; beyond this machine only with --token)", "ADDRESS"},
      {"port", 0, 0, G_OPTION_ARG_INT, &raw.port,
       "port to listen on (default 8080; 0: a free one, which is printed)", "N"},
      {"token", 0, 0, G_OPTION_ARG_STRING, &raw.token,
       "ask everybody for this: #token=TEXT behind the page's address, `Authorization: Bearer TEXT` else",
       "TEXT"},
      {"public-url", 0, 0, G_OPTION_ARG_STRING, &raw.public_url,
       "where people find this behind a proxy: its name and path are answered, and WebRTC offers all "
       "addresses",
       "https://NAME/PATH/"},
      {"tls-cert", 0, 0, G_OPTION_ARG_STRING, &raw.tls_cert,
       "HTTPS with this certificate and those it is signed with", "FILE.pem"},
      {"tls-key", 0, 0, G_OPTION_ARG_STRING, &raw.tls_key, "the certificate's private key", "FILE.pem"},
      {"stun", 0, 0, G_OPTION_ARG_STRING_ARRAY, &raw.stun,
       "STUN server, which tells our address behind a router; may be repeated", "stun:HOST:PORT"},
      {"turn", 0, 0, G_OPTION_ARG_STRING_ARRAY, &raw.turn,
       "TURN server, which relays what routers let through in no other way; turns: too; may be repeated",
       "turn:USER:PASSWORD@HOST:PORT?transport=udp"},
      {"turn-secret", 0, 0, G_OPTION_ARG_STRING, &raw.turn_secret,
       "instead of USER:PASSWORD: what the TURN server shares with us (use-auth-secret), for passwords of a "
       "day",
       "TEXT"},
      {"max-viewers", 0, 0, G_OPTION_ARG_INT, &raw.max_viewers, "how many may watch at a time (default 16)",
       "N"},
      {"max-connections", 0, 0, G_OPTION_ARG_INT, &raw.max_connections,
       "how many may be connected at a time (default 64)", "N"},
      {"bitrate", 0, 0, G_OPTION_ARG_INT, &raw.bitrate, "of each encoder (default 1500)", "KBIT/S"},
      {"rtmp", 0, 0, G_OPTION_ARG_STRING, &raw.rtmp, "publish there too, H.264 and silent AAC",
       "rtmp://HOST/APPLICATION/KEY"},
      {"srt", 0, 0, G_OPTION_ARG_STRING, &raw.srt,
       "send there too, MPEG-TS; ?mode=listener waits for a receiver", "srt://HOST:PORT"},
      {"whip", 0, 0, G_OPTION_ARG_STRING, &raw.whip, "publish there too by WebRTC", "http://HOST/PATH"},
      {"whip-token", 0, 0, G_OPTION_ARG_STRING, &raw.whip_token, "the WHIP server's bearer token", "TEXT"},
      {"seconds", 0, 0, G_OPTION_ARG_INT, &raw.seconds, "stop after so long (default: on SIGINT or SIGTERM)",
       "N"},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr}};
  GOptionContext* context = g_option_context_new(nullptr);
  g_option_context_set_description(context, description);
  g_option_context_add_main_entries(context, entries, nullptr);
  GError* problem = nullptr;
  const bool good = g_option_context_parse(context, &argc, &argv, &problem);
  g_option_context_free(context);
  if (!good) {
    *error = take_message(problem);
  } else if (argc > 1) {
    *error = std::string("unexpected argument \"") + argv[1] + "\"";
  }
  return error->empty();
}

std::string out_of_range(const char* name, gint64 value, gint64 low, gint64 high) {
  if (value >= low && value <= high) return "";
  return std::string("--") + name + " " + std::to_string(value) + " is outside " + std::to_string(low) +
         " … " + std::to_string(high);
}

bool read_size(const char* text, Options& o) {
  char rest = 0;
  return std::sscanf(text, "%5ux%5u%c", &o.width, &o.height, &rest) == 2 && o.width > 0 && o.height > 0;
}

std::string wrong_address(const char* name, const std::string& address,
                          const std::vector<std::string>& schemes) {
  const TextPtr scheme(g_uri_parse_scheme(address.c_str()));
  if (address.empty()) return "";
  for (const std::string& good : schemes) {
    if (scheme && good == scheme.get() && g_uri_is_valid(address.c_str(), G_URI_FLAGS_NONE, nullptr))
      return "";
  }
  return std::string("--") + name + " " + address + " is no " + schemes.front() + " address; see --help";
}

// "camera" and "test" as they are, a file as its URI. Returns a sentence if it is something else, or no file.
std::string take_input(Options& o, const char* text) {
  o.input = text;
  if (o.input == "camera" || o.input == "test") return "";
  const TextPtr scheme(g_uri_parse_scheme(text));
  if (!scheme) {
    const ObjectPtr<GFile> file(g_file_new_for_path(text));
    o.input = TextPtr(g_file_get_uri(file.get())).get();
  }
  if (o.input.rfind("file:", 0) == 0) {
    const ObjectPtr<GFile> file(g_file_new_for_uri(o.input.c_str()));
    if (g_file_query_file_type(file.get(), G_FILE_QUERY_INFO_NONE, nullptr) != G_FILE_TYPE_REGULAR)
      return std::string("--input ") + text + " is no file; it may also be camera, test or an address";
    return "";
  }
  for (const char* known : {"rtsp", "rtsps", "http", "https", "srt"}) {
    if (scheme && g_strcmp0(scheme.get(), known) == 0 && g_uri_is_valid(text, G_URI_FLAGS_NONE, nullptr))
      return "";
  }
  return std::string("--input ") + text +
         " is none of camera, test, a file, and a file:, rtsp:, http: or srt: address";
}

// The first problem that is found; empty if there is none.
std::string problem_of(const Raw& raw, const Options& o) {
  const std::string problems[] = {
      out_of_range("port", raw.port, 0, 65535),
      out_of_range("seconds", raw.seconds, 0, 100000000),
      out_of_range("max-viewers", raw.max_viewers, 1, 1000),
      out_of_range("max-connections", raw.max_connections, 1, 10000),
      out_of_range("bitrate", raw.bitrate, 50, 100000),
      out_of_range("seed", raw.seed, 0, G_MAXINT64),
      wrong_address("rtmp", o.rtmp, {"rtmp", "rtmps"}),
      wrong_address("srt", o.srt, {"srt"}),
      wrong_address("whip", o.whip, {"http", "https"}),
  };
  for (const std::string& problem : problems) {
    if (!problem.empty()) return problem;
  }
  if (!(raw.cache_threshold >= -1 && raw.cache_threshold <= 10))
    return "--cache-threshold is outside -1 … 10";
  if (raw.strength != -1 && !(raw.strength >= 0 && raw.strength <= 1)) return "--strength is outside 0 … 1";
  if (raw.strength != -1 && o.input.empty()) return "--strength needs an --input to be painted over";
  for (const IceServer& server : o.ice) {
    if (server.scheme != "stun" && server.user.empty() && o.turn_secret.empty())
      return "--turn " + server.host + " has no USER:PASSWORD@, and there is no --turn-secret";
  }
  if (o.tls_cert.empty() != o.tls_key.empty())
    return "--tls-cert and --tls-key belong together: one is missing";
  if (!g_hostname_is_ip_address(o.bind.c_str())) return "--bind " + o.bind + " is no IP address";
  if (!is_loopback(o.bind) && o.token.size() < 8) {
    return "--bind " + o.bind + " lets others in: give --token a secret of 8 characters or more";
  }
  return "";
}

// What is wrong with the servers of --stun or --turn; empty if nothing is.
std::string take_ice_servers(Options& o, char** texts, bool turn) {
  for (char** text = texts; text != nullptr && *text != nullptr; ++text) {
    std::string problem;
    const auto server = parse_ice_server(*text, &problem);
    if (!server) return std::string(turn ? "--turn " : "--stun ") + problem;
    if ((server->scheme != "stun") != turn)
      return std::string(turn ? "--turn " : "--stun ") + *text + " is of the other kind";
    o.ice.push_back(*server);
  }
  return "";
}

}  // namespace

std::vector<IceServer> ice_servers(const Options& options) {
  constexpr gint64 day = 24 * 60 * 60;
  std::vector<IceServer> servers = options.ice;
  for (IceServer& server : servers) {
    if (server.scheme != "stun" && server.user.empty()) {
      set_passing_credentials(server, options.turn_secret, g_get_real_time() / G_USEC_PER_SEC + day);
    }
  }
  return servers;
}

bool is_loopback(const std::string& address) {
  const ObjectPtr<GInetAddress> parsed(g_inet_address_new_from_string(address.c_str()));
  return parsed && g_inet_address_get_is_loopback(parsed.get());
}

std::optional<Options> parse_options(int argc, char** argv, int* status) {
  Raw raw;
  std::string error;
  *status = 2;
  if (parse_raw(argc, argv, raw, &error)) {
    Options o;
    const auto take = [](std::string& to, const char* from) {
      if (from != nullptr) to = from;
    };
    take(o.prompt, raw.prompt);
    take(o.model, raw.model);
    take(o.cache, raw.cache);
    take(o.devices, raw.devices);
    take(o.workers_at, raw.workers_at);
    take(o.on_lost_rank, raw.on_lost_rank);
    take(o.bind, raw.bind);
    take(o.token, raw.token);
    take(o.turn_secret, raw.turn_secret);
    take(o.tls_cert, raw.tls_cert);
    take(o.tls_key, raw.tls_key);
    take(o.rtmp, raw.rtmp);
    take(o.srt, raw.srt);
    take(o.whip, raw.whip);
    take(o.whip_token, raw.whip_token);
    error = take_ice_servers(o, raw.stun, false);
    if (error.empty()) error = take_ice_servers(o, raw.turn, true);
    if (error.empty() && raw.public_url != nullptr) {
      const auto site = parse_site(raw.public_url);
      if (site)
        o.public_site = *site;
      else
        error = std::string("--public-url ") + raw.public_url +
                " is no http:// or https:// address of a page, without ? and #";
    }
    if (error.empty() && raw.input != nullptr) error = take_input(o, raw.input);
    if (error.empty()) error = problem_of(raw, o);
    if (error.empty() && raw.size != nullptr && !read_size(raw.size, o))
      error = std::string("--size ") + raw.size + " is no size such as 384x224";
    o.cache_threshold = raw.cache_threshold;
    if (raw.strength != -1) o.strength = raw.strength;
    o.seed = raw.seed;
    o.port = raw.port;
    o.seconds = raw.seconds;
    o.max_viewers = raw.max_viewers;
    o.max_connections = raw.max_connections;
    o.bitrate = raw.bitrate;
    if (error.empty()) return o;
  }
  std::fprintf(stderr, "error: %s\n", error.c_str());
  return std::nullopt;
}

}  // namespace flowcache::live
