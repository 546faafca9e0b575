#include "tests/audit/program.h"

#include <sys/socket.h>
#include <wordexp.h>

#include <algorithm>
#include <array>
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "audit/commands/program.h"

namespace afterimage::test {
namespace {

// Copies of a process that has loaded what the program links and done nothing else: loading takes LibTorch half a
// second, and a copy of a process that has computed would lack its threads.
class Copies {
 public:
  Copies() {
    std::cout.flush();
    std::fflush(nullptr);  // a copy would write what waits here once more
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw std::runtime_error("no pair of sockets");
    }
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("no process to copy");
    if (child == 0) {
      ::close(ends[0]);
      serve(ends[1]);
    }
    ::close(ends[1]);
    socket_ = ends[0];
  }
  ~Copies() { ::close(socket_); }
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;

  // The status, as of waitpid(), of the program with these words, with stdout and stderr in these files.
  int run(const std::vector<std::string>& words, const std::string& out, const std::string& err) const {
    std::string message = out + '\0' + err + '\0';
    for (const auto& word : words) message += word + '\0';
    int status = 0;
    if (message.size() > largest_message || ::send(socket_, message.data(), message.size(), 0) < 0 ||
        ::recv(socket_, &status, sizeof status, 0) != sizeof status) {
      throw std::runtime_error("the process that is copied has ended");
    }
    return status;
  }

 private:
  static constexpr std::size_t largest_message = 1 << 16;

  [[noreturn]] static void serve(int socket) {
    std::string message(largest_message, '\0');
    for (;;) {
      const auto length = ::recv(socket, message.data(), message.size(), 0);
      if (length <= 0) ::_exit(0);
      std::vector<char*> words;
      for (char* word = message.data(); word < message.data() + length; word += std::strlen(word) + 1) {
        words.push_back(word);
      }
      const pid_t child = ::fork();
      if (child == 0) {
        ::close(socket);
        become_program(words);
      }
      int status = 0;
      ::waitpid(child, &status, 0);
      if (::send(socket, &status, sizeof status, 0) < 0) ::_exit(0);
    }
  }

  [[noreturn]] static void become_program(std::vector<char*> words) {
    if (std::freopen(words[0], "w", stdout) == nullptr || std::freopen(words[1], "w", stderr) == nullptr) ::_exit(126);
    words.erase(words.begin(), words.begin() + 2);
    const auto count = static_cast<int>(words.size());
    words.push_back(nullptr);
    const int code = run_program(count, words.data());
    std::cout.flush();
    std::fflush(nullptr);
    ::_exit(code);
  }

  int socket_ = -1;
};

std::unique_ptr<Copies> copies;

// Before the first test, while this process has no threads of its own.
struct Start : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testRunStarting(const Catch::TestRunInfo&) override { copies = std::make_unique<Copies>(); }
  void testRunEnded(const Catch::TestRunStats&) override { copies.reset(); }
};
CATCH_REGISTER_LISTENER(Start)

// As a shell splits them; none where a shell has more to do, as for a pipe.
std::vector<std::string> split(const std::string& command) {
  wordexp_t expanded{};
  if (::wordexp(command.c_str(), &expanded, WRDE_NOCMD) != 0) return {};
  std::vector<std::string> words(expanded.we_wordv, expanded.we_wordv + expanded.we_wordc);
  ::wordfree(&expanded);
  return words;
}

Result result(int status, const Folder& folder) {
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(folder / "out"), contents(folder / "err")};
}

}  // namespace

Result run(const std::string& arguments) {
  const auto words = split(std::string(PROGRAM) + " " + arguments);
  const auto names = [&](const char* command) { return std::find(words.begin(), words.end(), command) != words.end(); };
  // These two start the program of the file that their process came from.
  if (words.empty() || names("compare") || names("demo")) return run_in_shell(arguments);
  const Folder folder;
  return result(copies->run(words, folder / "out", folder / "err"), folder);
}

Result run_in_shell(const std::string& arguments) {
  const Folder folder;
  const std::string command =
      std::string(PROGRAM) + " " + arguments + " >" + (folder / "out") + " 2>" + (folder / "err");
  return result(std::system(command.c_str()), folder);
}

}  // namespace afterimage::test
