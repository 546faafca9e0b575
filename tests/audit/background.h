// The program in the background, for tests that kill it.
#pragma once

#include <unistd.h>

#include <string>
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

}  // namespace afterimage::test
