// SPDX-License-Identifier: LGPL-2.1-or-later
// Workers that come from elsewhere.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "parallel/door.h"
#include "parallel/identity.h"
#include "ranks.h"

using namespace flowcache;
using namespace flowcache::test;

namespace {

const std::string right = "0123456789abcdef0123456789abcdef", wrong = "fedcba9876543210fedcba9876543210";

// `flowcache worker --join` in a process of its own, with this token.
class Guest {
 public:
  Guest(const std::string& address, const std::string& model, const std::string& token) {
    id_ = fork();
    if (id_ != 0) return;
    setenv("FLOWCACHE_TOKEN", token.c_str(), 1);
    close(STDERR_FILENO);
    const std::string program = std::getenv("FLOWCACHE_PROGRAM");
    execl(program.c_str(), program.c_str(), "worker", "--join", address.c_str(), "-m", model.c_str(),
          "--device", "cpu", "--threads", "1", nullptr);
    _exit(127);
  }
  ~Guest() { status(); }
  int status() {
    if (id_ > 0) waitpid(id_, &status_, 0);
    id_ = 0;
    return status_;
  }

 private:
  pid_t id_ = 0;
  int status_ = 0;
};

// A port that was free a moment ago.
std::string free_address() {
  const int own = listen_at({"127.0.0.1", 0});
  const uint16_t port = own_address(own).port;
  close(own);
  return "127.0.0.1:" + std::to_string(port);
}

class Joining : public testing::Test {
 protected:
  Joining() {
    setenv("FLOWCACHE_TOKEN", right.c_str(), 1);
    folder_.write("model.json", tiny_wan(4).dump());
  }
  ~Joining() override { unsetenv("FLOWCACHE_TOKEN"); }
  LoadOptions options() const {
    return {.model = model(), .device = "cpu", .precision = "fp32", .threads = 1};
  }
  std::string model() const { return "random:" + folder_.path.string(); }

  const c10::InferenceMode inference_;
  TempFolder folder_;
  const std::string address_ = free_address();
  const RankOptions ranks_{.devices = {"cpu", "join"}, .timeout_ms = 60000, .listen = address_};
};

// Starts a guest as soon as somebody listens.
Progress when_open(std::unique_ptr<Guest>& guest, const std::function<std::unique_ptr<Guest>()>& make) {
  return [&guest, make](const char* stage, double) {
    if (std::string(stage) == "join" && !guest) guest = make();
    return true;
  };
}

TEST_F(Joining, AWorkerComesFromElsewhere) {
  std::unique_ptr<Guest> guest;
  {
    const auto together =
        load_on_ranks(options(), ranks_,
                      when_open(guest, [&] { return std::make_unique<Guest>(address_, model(), right); }));
    const Played wanted = play(LoadedModel::load(options(), nullptr), config_of("flowcache", "flowcache"), 3);
    const Played got = play(together, config_of("flowcache", "flowcache"), 3);
    for (size_t i = 0; i < 3; ++i)
      EXPECT_LE((got.latents[i] - wanted.latents[i]).abs().max().item<double>(), 1e-4);
  }
  EXPECT_EQ(guest->status(), 0);
}

TEST_F(Joining, AnotherModelIsRefused) {
  TempFolder other;
  json package = tiny_wan(4);
  package["sampler"]["shift"] = 2.5;
  other.write("model.json", package.dump());
  std::unique_ptr<Guest> guest;
  const std::string said = message_of([&] {
    load_on_ranks(options(), ranks_, when_open(guest, [&] {
                    return std::make_unique<Guest>(address_, "random:" + other.path.string(), right);
                  }));
  });
  EXPECT_NE(said.find("rank 1 (join) does not fit to this stream: the model's digest is"), std::string::npos)
      << said;
  EXPECT_NE(guest->status(), 0);
}

TEST_F(Joining, WithoutTheTokenNobodyGetsIn) {
  std::unique_ptr<Guest> stranger, guest;
  const auto together = load_on_ranks(options(), ranks_, [&](const char* stage, double) {
    if (std::string(stage) != "join") return true;
    if (!stranger)
      stranger = std::make_unique<Guest>(address_, model(), wrong);
    else if (!guest && stranger->status() != 0)
      guest = std::make_unique<Guest>(address_, model(), right);
    return true;
  });
  EXPECT_NE(stranger->status(), 0);
  play(together, config_of("none"), 1);
}

TEST_F(Joining, OptionsThatDoNotFitAreNamed) {
  const auto say = [&](const RankOptions& ranks) {
    return message_of([&] { load_on_ranks(options(), ranks, nullptr); });
  };
  EXPECT_NE(say({.devices = {"cpu", "join"}}).find("set listen"), std::string::npos);
  EXPECT_NE(say({.devices = {"join", "cpu"}}).find("cannot be join"), std::string::npos);
  EXPECT_NE(say({.devices = {"cpu", "cpu"}, .listen = address_}).find("no worker joins"), std::string::npos);
  EXPECT_NE(
      say({.devices = {"cpu", "join"}, .listen = "0.0.0.0:0"}).find("name the address of one interface"),
      std::string::npos);
  setenv("FLOWCACHE_TOKEN", "short", 1);
  EXPECT_NE(say(ranks_).find("at least 16 are wanted"), std::string::npos);
  unsetenv("FLOWCACHE_TOKEN");
  EXPECT_NE(say(ranks_).find("workers need a token"), std::string::npos);
}

TEST(Door, TellsNobodyTheToken) {
  Door door({"127.0.0.1", 0}, right);
  std::string said;
  std::thread guest([&] { said = message_of([&] { knock_at(door.address(), wrong); }); });
  EXPECT_FALSE(door.let_in(std::chrono::seconds(2)).open());
  guest.join();
  EXPECT_NE(said.find("refuses this worker"), std::string::npos) << said;
  std::thread friendly([&] { EXPECT_TRUE(knock_at(door.address(), right).open()); });
  EXPECT_TRUE(door.let_in(std::chrono::seconds(10)).open());
  friendly.join();
}

// What is no door, and what is no guest.
TEST(Door, IsNotFooledByNoise) {
  Door door({"127.0.0.1", 0}, right);
  std::thread noise([&] {
    const int own = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(door.address().port);
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(own, reinterpret_cast<sockaddr*>(&place), sizeof place), 0);
    const std::string text(64, '\xff');
    EXPECT_GT(send(own, text.data(), text.size(), MSG_NOSIGNAL), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    close(own);
  });
  EXPECT_FALSE(door.let_in(std::chrono::seconds(1)).open());
  noise.join();
  EXPECT_NE(message_of([&] {
              knock_at({"127.0.0.1", 1}, right);
            }).find("no stream waits for workers"),
            std::string::npos);
}

TEST(Identity, TheDigestSeesModelAndWeights) {
  const auto digest = [](const json& package, const std::string& weights) {
    TempFolder folder;
    folder.write("model.json", package.dump());
    folder.write("none.safetensors", weights);
    return digest_of(read_package(folder.path));
  };
  const json package = tiny_wan(4);
  std::string weights(1 << 20, 'x');
  const std::string one = digest(package, weights);
  EXPECT_EQ(digest(package, weights), one);
  json other = package;
  other["name"] = "another";
  EXPECT_NE(digest(other, weights), one);
  EXPECT_NE(digest(package, weights + "x"), one);
  weights.back() = 'y';
  EXPECT_NE(digest(package, weights), one);
}

TEST(Identity, TheDifferenceIsNamed) {
  const json own = {{"the library's version", "1"}, {"the precision", "fp32"}};
  EXPECT_EQ(difference(own, own), "");
  EXPECT_EQ(difference(own, {{"the library's version", "2"}, {"the precision", "fp32"}}),
            "the library's version is 1 here and 2 there");
  EXPECT_EQ(difference(own, {{"the library's version", "1"}}),
            "the precision is fp32 here and unknown there");
}

}  // namespace
