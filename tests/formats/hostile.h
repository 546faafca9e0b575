// Hostile files: how a reader has to refuse them, and within how much memory.
#pragma once

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "models/foundations/error.h"
#include "tests/formats/deflated.h"
#include "tests/formats/raw_zip.h"

namespace afterimage::test {

// Address space that a reader may take beyond the file.
inline constexpr std::uint64_t most_beyond = 64ULL << 20;

inline constexpr const char* was_read = "was read";

// The message that `read(file)` is refused with; `was_read` where it is not.
template <class Read>
std::string refusal_of(const std::filesystem::path& file, Read read) {
  try {
    read(file);
    return was_read;
  } catch (const InputError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("threw ") + error.what();
  }
}

// Likewise, in a process of its own that may take no more than the file's size and 64 MiB beyond what it has.
template <class Read>
std::string refusal_within_memory(const std::filesystem::path& file, Read read) {
#if defined(__SANITIZE_ADDRESS__)
  return refusal_of(file, read);  // the sanitizer needs the address space for itself
#else
  // Freed large blocks return to the system, so that the reader cannot reuse memory of the test.
  static const bool given_back = ::mallopt(M_MMAP_THRESHOLD, 1 << 17) == 1;
  int ends[2];
  if (!given_back || ::pipe(ends) != 0) return "could not be tried";
  const pid_t child = ::fork();
  if (child == 0) {
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    std::error_code missing;
    const std::uint64_t bytes = std::filesystem::file_size(file, missing);
    const rlim_t limit =
        pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + (missing ? 0 : bytes) + most_beyond;
    const rlimit memory{limit, limit};
    ::setrlimit(RLIMIT_AS, &memory);
    const std::string message = refusal_of(file, read);
    ::_exit(::write(ends[1], message.data(), message.size()) == static_cast<ssize_t>(message.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string message(4096, '\0');
  const ssize_t size = ::read(ends[0], message.data(), message.size());
  ::close(ends[0]);
  message.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? message : "ended its process";
#endif
}

// A refusal is one line of printable characters that names the file and says more than its name.
inline void check_message(const std::string& message, const std::filesystem::path& file) {
  CAPTURE(message);
  CHECK(message.starts_with(file.string() + ": "));
  CHECK(message.size() > file.string().size() + 10);
  CHECK(message.size() < file.string().size() + 400);
  CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
}

// `what` says what is wrong with the file, `named` what the message has to contain.
template <class Read>
void check_refused(const std::string& what, const std::filesystem::path& file, Read read,
                   const std::string& named = "") {
  const std::string message = refusal_within_memory(file, read);
  CAPTURE(what, message);
  check_message(message, file);
  CHECK(message.find(named) != std::string::npos);
}

}  // namespace afterimage::test
