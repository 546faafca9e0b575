// The program as a background process, for tests that kill it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace afterimage::test {

inline pid_t start(const std::vector<std::string>& arguments) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  std::vector<char*> words{const_cast<char*>(PROGRAM)};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  ::execv(PROGRAM, words.data());
  ::_exit(127);
}

// Its exit code once it has ended; -1 where a signal ended it.
inline int code_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Whether the file appears while the child still runs, within five minutes.
inline bool appears(const std::string& file, pid_t child) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(5);
  while (!std::filesystem::exists(file)) {
    siginfo_t ended{};
    // Not reaped here: code_of() still gets its exit code.
    if (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == child) {
      return std::filesystem::exists(file);
    }
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace afterimage::test
