// Zip archives made byte by byte, for tests and fuzzers.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/formats/bytes.h"

namespace afterimage::test {

// A zip, byte by byte, which may declare wrong sizes, hold a name twice, and describe a member differently in its local
// header and in the directory.
struct Member {
  std::string name, bytes;
  std::uint64_t declared;
  int flags = 0, method = 0;  // in the directory
  std::optional<std::string> local_name = std::nullopt;
  std::optional<int> local_flags = std::nullopt, local_method = std::nullopt;
  std::uint32_t wrong_bits = 0;  // of the checksum in the local header
};
struct RawZip {
  std::string files, directory;
  std::uint64_t members = 0;
  std::string end(std::uint64_t before = 0) const {
    return bytes_of({'P', 'K', 5, 6, 0, 0, 0, 0}) + little_endian(members, 2) + little_endian(members, 2) +
           little_endian(directory.size(), 4) + little_endian(files.size() + before, 4) + little_endian(0, 2);
  }
  std::string all() const { return files + directory + end(); }
};
inline RawZip raw_zip_parts(const std::vector<Member>& members) {
  RawZip zip;
  for (const auto& member : members) {
    const auto sum =
        crc32(0, reinterpret_cast<const Bytef*>(member.bytes.data()), static_cast<uInt>(member.bytes.size()));
    const std::string local_name = member.local_name.value_or(member.name);
    const auto common = [&](int flags, int method, std::uint64_t checksum, std::size_t name) {
      return bytes_of({20, 0}) + little_endian(static_cast<std::uint64_t>(flags), 2) +
             little_endian(static_cast<std::uint64_t>(method), 2) + bytes_of({0, 0, 33, 0}) +
             little_endian(checksum, 4) + little_endian(member.bytes.size(), 4) + little_endian(member.declared, 4) +
             little_endian(name, 2) + little_endian(0, 2);
    };
    zip.directory += bytes_of({'P', 'K', 1, 2, 20, 0}) + common(member.flags, member.method, sum, member.name.size()) +
                     std::string(10, '\0') + little_endian(zip.files.size(), 4) + member.name;
    zip.files += bytes_of({'P', 'K', 3, 4}) +
                 common(member.local_flags.value_or(member.flags), member.local_method.value_or(member.method),
                        sum ^ member.wrong_bits, local_name.size()) +
                 local_name + member.bytes;
    ++zip.members;
  }
  return zip;
}
inline std::string raw_zip(const std::vector<Member>& members) { return raw_zip_parts(members).all(); }

}  // namespace afterimage::test
