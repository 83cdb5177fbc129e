// SPDX-License-Identifier: LGPL-2.1-or-later
#include "exchange.h"

#include <algorithm>
#include <utility>

namespace flowcache::live {
namespace {

constexpr gsize piece = 16 * 1024;

using UriPtr = std::unique_ptr<GUri, Release<g_uri_unref>>;

UriPtr parse(const std::string& url) {
  return UriPtr(g_uri_parse(url.c_str(), static_cast<GUriFlags>(SOUP_HTTP_URI_FLAGS), nullptr));
}

// scheme://host:port, with the scheme's own port where none is named.
std::string origin_of(const std::string& url) {
  const UriPtr uri = parse(url);
  if (!uri || g_uri_get_host(uri.get()) == nullptr) return "";
  const TextPtr host(g_ascii_strdown(g_uri_get_host(uri.get()), -1));
  const std::string scheme = g_uri_get_scheme(uri.get());
  const int port = g_uri_get_port(uri.get());
  return scheme + "://" + host.get() + ":" + std::to_string(port > 0 ? port : scheme == "https" ? 443 : 80);
}

bool is_https(const std::string& url) {
  return origin_of(url).rfind("https:", 0) == 0;
}

bool is_http(const std::string& url) {
  return origin_of(url).rfind("http:", 0) == 0;
}

// Seconds, or a date (RFC 9110, 10.2.3).
unsigned seconds_of(const char* text) {
  if (text == nullptr) return 0;
  guint64 seconds = 0;
  if (g_ascii_string_to_unsigned(text, 10, 0, 1000000, &seconds, nullptr))
    return static_cast<unsigned>(seconds);
  GDateTime* then = soup_date_time_new_from_http_string(text);
  if (then == nullptr) return 0;
  const gint64 wait = g_date_time_to_unix(then) - g_get_real_time() / G_USEC_PER_SEC;
  g_date_time_unref(then);
  return wait <= 0 ? 0 : static_cast<unsigned>(std::min<gint64>(wait, 1000000));
}

// One request under way. It owns itself until `done_` has been called.
class Exchange {
 public:
  Exchange(SoupSession* session, Question question, GCancellable* cancellable,
           std::function<void(const Answer&)> done)
      : session_(SOUP_SESSION(g_object_ref(session))),
        question_(std::move(question)),
        cancellable_(cancellable == nullptr ? nullptr : G_CANCELLABLE(g_object_ref(cancellable))),
        done_(std::move(done)) {
    answer_.url = question_.url;
  }

  void send() {
    message_.reset(soup_message_new(question_.method, answer_.url.c_str()));
    if (!message_) return finish("\"" + answer_.url + "\" is no address");
    soup_message_add_flags(message_.get(), SOUP_MESSAGE_NO_REDIRECT);
    answer_.knows_token = !question_.token.empty() && origin_of(answer_.url) == origin_of(question_.url);
    if (answer_.knows_token) {
      soup_message_headers_replace(soup_message_get_request_headers(message_.get()), "Authorization",
                                   ("Bearer " + question_.token).c_str());
    }
    if (!question_.body.empty()) {
      GBytes* body = g_bytes_new(question_.body.data(), question_.body.size());
      soup_message_set_request_body_from_bytes(message_.get(), question_.type.c_str(), body);
      g_bytes_unref(body);
    }
    soup_session_send_async(session_.get(), message_.get(), G_PRIORITY_DEFAULT, cancellable_.get(),
                            on_headers, this);
  }

 private:
  static void on_headers(GObject*, GAsyncResult* result, gpointer data) {
    auto* self = static_cast<Exchange*>(data);
    GError* error = nullptr;
    self->stream_.reset(soup_session_send_finish(self->session_.get(), result, &error));
    if (!self->stream_) return self->finish(take_message(error));
    self->read_headers();
    if (!self->redirected()) self->read();
  }

  void read_headers() {
    SoupMessageHeaders* headers = soup_message_get_response_headers(message_.get());
    answer_.status = soup_message_get_status(message_.get());
    answer_.location.clear();
    answer_.type.clear();
    if (const char* location = soup_message_headers_get_one(headers, "Location")) {
      const TextPtr absolute(g_uri_resolve_relative(answer_.url.c_str(), location,
                                                    static_cast<GUriFlags>(SOUP_HTTP_URI_FLAGS), nullptr));
      if (absolute) answer_.location = absolute.get();
    }
    if (const char* type = soup_message_headers_get_content_type(headers, nullptr)) {
      answer_.type = TextPtr(g_ascii_strdown(type, -1)).get();
    }
    answer_.retry_after = seconds_of(soup_message_headers_get_one(headers, "Retry-After"));
    answer_.links.clear();
    if (const char* links = soup_message_headers_get_list(headers, "Link")) {
      GSList* list = soup_header_parse_list(links);
      for (GSList* one = list; one != nullptr; one = one->next)
        answer_.links.emplace_back(static_cast<char*>(one->data));
      soup_header_free_list(list);
    }
  }

  // Follows 307 and 308, which repeat the request elsewhere. The other redirections would turn a POST into a
  // GET, so they are not followed and are the answer.
  bool redirected() {
    if ((answer_.status != 307 && answer_.status != 308) || answer_.location.empty()) return false;
    if (++redirections_ > most_redirections) {
      finish("the server sends us from one address to the next, more than " +
             std::to_string(most_redirections) + " times");
    } else if (!is_http(answer_.location) && !is_https(answer_.location)) {
      finish("the server sends us to \"" + answer_.location.substr(0, 80) +
             "\", which is no http or https address");
    } else if (is_https(answer_.url) && !is_https(answer_.location)) {
      finish("the server sends us from https to where there is none");
    } else {
      answer_.url = answer_.location;
      stream_.reset();
      send();
    }
    return true;
  }

  void read() {
    g_input_stream_read_bytes_async(stream_.get(), piece, G_PRIORITY_DEFAULT, cancellable_.get(), on_piece,
                                    this);
  }

  // A read returns what has come so far. Only an empty one is the end of the body.
  static void on_piece(GObject*, GAsyncResult* result, gpointer data) {
    auto* self = static_cast<Exchange*>(data);
    GError* error = nullptr;
    GBytes* bytes = g_input_stream_read_bytes_finish(self->stream_.get(), result, &error);
    if (bytes == nullptr) return self->finish(take_message(error));
    gsize size = 0;
    const auto* text = static_cast<const char*>(g_bytes_get_data(bytes, &size));
    self->answer_.body.append(text == nullptr ? "" : text, size);
    g_bytes_unref(bytes);
    if (size == 0) {
      self->finish("");
    } else if (self->answer_.body.size() > most_answer) {
      self->finish("the server's answer is longer than " + std::to_string(most_answer) + " bytes");
    } else {
      self->read();
    }
  }

  void finish(const std::string& error) {
    answer_.error = error;
    const std::unique_ptr<Exchange> self(this);
    done_(answer_);
  }

  const ObjectPtr<SoupSession> session_;
  const Question question_;
  const ObjectPtr<GCancellable> cancellable_;
  const std::function<void(const Answer&)> done_;
  ObjectPtr<SoupMessage> message_;
  ObjectPtr<GInputStream> stream_;
  Answer answer_;
  unsigned redirections_ = 0;
};

}  // namespace

void ask(SoupSession* session, Question question, GCancellable* cancellable,
         std::function<void(const Answer&)> done) {
  (new Exchange(session, std::move(question), cancellable, std::move(done)))->send();
}

}  // namespace flowcache::live
