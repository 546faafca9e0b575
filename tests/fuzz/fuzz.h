// Gives what libFuzzer makes up to a reader of files. A refusal is an answer; anything else that is thrown is a fault.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "models/base/error.h"

namespace afterimage::test {

template <class Read>
void read_bytes(std::string_view bytes, Read read) {
  static const int memory = ::memfd_create("fuzz", 0);
  static const std::filesystem::path path = "/proc/self/fd/" + std::to_string(memory);
  if (::ftruncate(memory, 0) != 0 ||
      ::pwrite(memory, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    std::abort();
  }
  try {
    read(path);
  } catch (const InputError&) {
  }
}

inline std::string_view view(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace afterimage::test
