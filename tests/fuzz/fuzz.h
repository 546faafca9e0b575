// Feeds libFuzzer's inputs to a reader of files. An InputError is a correct answer; any other exception is a fault.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "models/foundations/error.h"

namespace afterimage::test {

// A link to a file in memory, for readers that check the file's name.
inline std::filesystem::path link_to(int memory, const std::string& extension) {
  const auto link = std::filesystem::temp_directory_path() / ("fuzz-" + std::to_string(::getpid()) + extension);
  std::filesystem::remove(link);
  std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(memory), link);
  return link;
}

// `extension` ends the name under which the bytes are read.
template <class Read>
void read_bytes(std::string_view bytes, Read read, const std::string& extension = "") {
  static const int memory = ::memfd_create("fuzz", 0);
  static std::map<std::string, std::filesystem::path> links;
  auto& path = links[extension];
  if (path.empty()) path = link_to(memory, extension);
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
