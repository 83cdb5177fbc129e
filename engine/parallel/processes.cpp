// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/modules.h"

extern char** environ;

namespace flowcache {
namespace {

constexpr int worker_socket = 3;

bool is_program(const std::string& path) {
  struct stat file {};
  return stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode) && access(path.c_str(), X_OK) == 0;
}

std::string program() {
  if (const char* named = std::getenv("FLOWCACHE_PROGRAM"); named && *named) return named;
  for (const char* folder : {"cli", "../bin", "../../bin"})
    for (const std::string& place : module_places("flowcache", folder))
      if (place.find('/') != std::string::npos && is_program(place)) return place;
  return "flowcache";
}

}  // namespace

WorkerProcess WorkerProcess::start() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(FC_ERROR_INTERNAL, std::string("no pair of sockets: ") + std::strerror(errno));
  Channel own(ends[0]), theirs(ends[1]);
  const std::string path = program(), number = std::to_string(worker_socket);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, theirs.socket(), worker_socket);
  posix_spawn_file_actions_addclosefrom_np(&files, worker_socket + 1);
  const char* arguments[] = {path.c_str(), "worker", "--socket", number.c_str(), nullptr};
  pid_t id = 0;
  const int failed =
      posix_spawnp(&id, path.c_str(), &files, nullptr, const_cast<char* const*>(arguments), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed)
    throw Error(FC_ERROR_NOT_FOUND, "the worker program \"" + path +
                                        "\" cannot be started: " + std::strerror(failed) +
                                        "; set FLOWCACHE_PROGRAM to the flowcache command of this version");
  return WorkerProcess(id, std::move(own));
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : channel(std::move(other.channel)),
      id_(std::exchange(other.id_, 0)),
      reaped_(other.reaped_),
      status_(other.status_) {}

bool WorkerProcess::ended() {
  if (id_ <= 0 || reaped_) return true;
  const pid_t found = waitpid(id_, &status_, WNOHANG);
  // The program around us may have waited for it.
  reaped_ = found == id_ || (found < 0 && errno == ECHILD);
  return reaped_;
}

void WorkerProcess::end(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!ended() && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (ended()) return;
  kill(id_, SIGKILL);
  while (!reaped_) {
    const pid_t found = waitpid(id_, &status_, 0);
    reaped_ = found == id_ || (found < 0 && errno != EINTR);
  }
}

std::string WorkerProcess::trouble() {
  if (ended()) {
    if (WIFSIGNALED(status_))
      return "was ended by signal " + std::to_string(WTERMSIG(status_)) + " (" +
             strsignal(WTERMSIG(status_)) + ")";
    return "has ended with status " + std::to_string(WEXITSTATUS(status_));
  }
  std::ifstream stat("/proc/" + std::to_string(id_) + "/stat");
  std::string text;
  std::getline(stat, text);
  const auto name_end = text.rfind(')');
  const bool stopped = name_end != std::string::npos && name_end + 2 < text.size() &&
                       (text[name_end + 2] == 'T' || text[name_end + 2] == 't');
  return stopped ? "is stopped" : "";
}

}  // namespace flowcache
