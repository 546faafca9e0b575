// Reading and writing whole files, with sizes checked before anything is allocated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "models/foundations/error.h"

namespace afterimage {

// A file or folder cannot be used (std::filesystem::filesystem_error, translated): exit 2, or 5 where the machine is at
// its limits.
class FileSystemError : public FatalError {
 public:
  explicit FileSystemError(const std::filesystem::filesystem_error& error)
      : FatalError(error.what()), path_(error.path1()), code_(error.code()) {}
  const std::filesystem::path& path() const { return path_; }  // may be empty
  const std::error_code& code() const { return code_; }

 private:
  std::filesystem::path path_;
  std::error_code code_;
};

// The whole file. Throws InputError when it cannot be read, is not a regular file, or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit);

// Its first `count` bytes, or all where there are fewer. Throws InputError when it cannot be read or is no regular
// file.
std::string first_bytes(const std::filesystem::path& path, std::size_t count);

// Bytes of a regular file. Throws InputError when there is none.
std::uint64_t bytes_in(const std::filesystem::path& path);

// Writes to a temporary name in the same folder and renames, so that a reader never sees half a file.
// Throws WriteError that names the file.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// temporary_name: under which this process writes a file until it is complete. whole_name: the reverse, from such a
// name to that of the file, without its folder; empty where `path` is no temporary name.
std::filesystem::path temporary_name(const std::filesystem::path& path);
std::string whole_name(const std::filesystem::path& path);
bool is_half_written(const std::filesystem::path& path);

struct FileDigest {
  std::uint64_t bytes = 0;
  std::string sha256;  // 64 lower-case hexadecimal digits
};

// Throws InputError when the file cannot be read. A folder's digest is that of the list of its files, in the order of
// their paths inside it: SHA-256, two spaces, path and a line feed each, as `sha256sum` prints them; its bytes are
// theirs. Names that begin with a dot are skipped; a link to a folder is not followed, but listed with its target.
FileDigest digest_of(const std::filesystem::path& path);
std::string sha256_of(std::string_view bytes);

// Makes `path` ready to take output: creates it (and its parents) when missing. Throws UsageError when it exists and is
// not a folder, cannot be written, or is not empty (unless `may_hold_files`).
void prepare_output_folder(const std::filesystem::path& path, bool may_hold_files);

// base64 with padding, for images inside a page.
std::string base64(std::string_view bytes);

}  // namespace afterimage
