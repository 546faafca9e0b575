// Zip archives from files that may be hostile: .npz and .pt.
//
// Programs read a zip differently when its central directory and the header before a member disagree, or when there are
// bytes between members. Here every byte of the file has to belong to exactly one member or to the directory, both
// descriptions of a member have to agree, and no member may declare more than its packed bytes can hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace afterimage {

struct ZipMember {
  std::string name;          // ASCII or UTF-8, of "/"-separated parts; unique
  std::uint64_t size = 0;    // of the content
  std::uint64_t packed = 0;  // of its bytes in the file
  std::uint64_t offset = 0;  // of these
  std::uint32_t checksum = 0;
  bool deflated = false;  // else stored: size is packed
};

class ZipArchive {
 public:
  // Reads the directory. `remedy` ends messages: how to write a good file. Throws InputError: not a zip, bytes
  // before, between or after its parts, two names of one kind, a path that leaves the archive, encryption, a
  // compression other than deflate, several disks, impossible sizes, more than `most_members`.
  ZipArchive(std::filesystem::path path, std::string remedy, std::size_t most_members);

  const std::vector<ZipMember>& members() const { return members_; }  // in the order of the directory
  const ZipMember* find(const std::string& name) const;               // or nullptr
  std::uint64_t bytes() const { return bytes_; }                      // of the file
  // False where every checksum is zero, as PyTorch writes them when told to compute none; they are not compared then.
  bool has_checksums() const { return has_checksums_; }

  // The content, `size` bytes, with its checksum compared. Throws InputError.
  std::string read(const ZipMember& member) const;
  std::vector<std::byte> read_bytes(const ZipMember& member) const;
  // Its first `count` bytes, or all where there are fewer; nothing is compared.
  std::string start_of(const ZipMember& member, std::size_t count) const;

  // "file: member "name"", as messages begin.
  std::string where(const ZipMember& member) const;

 private:
  void require_whole(const ZipMember& member) const;
  void unpack(const ZipMember& member, char* content) const;
  // The content piece by piece; `place` gives the destination of the piece that begins at a byte.
  void unpack_to(const ZipMember& member, const std::function<char*(std::uint64_t)>& place) const;
  [[noreturn]] void refuse(const ZipMember& member, const char* what) const;

  std::filesystem::path path_;
  std::string remedy_;
  std::uint64_t bytes_ = 0;
  std::vector<ZipMember> members_;
  bool has_checksums_ = true;
};

}  // namespace afterimage
