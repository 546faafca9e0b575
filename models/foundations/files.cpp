#include "models/foundations/files.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <regex>
#include <vector>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(const char* data, std::size_t size) { EVP_DigestUpdate(context_.get(), data, size); }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_DigestFinal_ex(context_.get(), digest, &length);
    std::string text;
    for (unsigned int i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::ifstream open_input(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw InputError(
        fmt::format("{}: cannot be opened ({}); give a readable file", path.string(), std::strerror(errno)));
  }
  return in;
}

}  // namespace

std::string first_bytes(const fs::path& path, std::size_t count) {
  bytes_in(path);  // throws on a folder or a missing file
  std::string bytes(count, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in) throw InputError(path.string() + ": cannot be opened; give a readable file");
  in.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(in.gcount()));
  return bytes;
}

std::uint64_t bytes_in(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) throw InputError(fmt::format("{}: no such file; check the path", path.string()));
  if (!fs::is_regular_file(status)) throw InputError(fmt::format("{}: not a regular file; give a file", path.string()));
  const auto size = fs::file_size(path, error);
  if (error) throw InputError(fmt::format("{}: cannot be read ({})", path.string(), error.message()));
  return size;
}

std::string read_file(const fs::path& path, std::uint64_t limit) {
  const auto size = bytes_in(path);
  if (size > limit) {
    throw InputError(
        fmt::format("{}: has {} bytes, more than the {} such a file may have", path.string(), size, limit));
  }
  std::ifstream in = open_input(path);
  std::string bytes(size, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uint64_t>(in.gcount()) != size) {
    throw InputError(fmt::format("{}: ended after {} of {} bytes; copy it again", path.string(), in.gcount(), size));
  }
  return bytes;
}

fs::path temporary_name(const fs::path& path) { return path.string() + fmt::format(".tmp-{}", ::getpid()); }

std::string whole_name(const fs::path& path) {
  // libzip writes beside the name that it is given, with a dot and six letters or digits more.
  static const std::regex pattern(R"((.+)\.tmp-[0-9]+(\.[A-Za-z0-9]{6})?)");
  const std::string name = path.filename().string();
  std::smatch parts;
  return std::regex_match(name, parts, pattern) ? parts[1].str() : "";
}

bool is_half_written(const fs::path& path) { return !whole_name(path).empty(); }

void write_file(const fs::path& path, std::string_view bytes) {
  const fs::path temporary = temporary_name(path);
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!out) {
      const std::string why = std::strerror(errno);
      std::error_code ignored;
      fs::remove(temporary, ignored);
      throw WriteError(fmt::format("{}: cannot be written ({})", path.string(), why));
    }
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw WriteError(fmt::format("{}: cannot be written ({})", path.string(), error.message()));
  }
}

namespace {

FileDigest digest_of_folder(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->path().filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
    } else if (entry->is_symlink() || !entry->is_directory()) {
      entries.push_back(entry->path());
    }
  }
  if (error) throw InputError(fmt::format("{}: cannot be read ({})", folder.string(), error.message()));
  std::sort(entries.begin(), entries.end());
  FileDigest digest;
  std::string list;
  for (const auto& path : entries) {
    const bool is_folder = fs::is_directory(path);
    const FileDigest own = is_folder ? FileDigest{0, sha256_of(fs::read_symlink(path).string())} : digest_of(path);
    digest.bytes += own.bytes;
    list += own.sha256 + "  " + path.lexically_relative(folder).generic_string() + "\n";
  }
  digest.sha256 = sha256_of(list);
  return digest;
}

}  // namespace

FileDigest digest_of(const fs::path& path) {
  if (fs::is_directory(path)) return digest_of_folder(path);
  FileDigest digest{bytes_in(path), ""};
  std::ifstream in = open_input(path);
  Sha256 hash;
  std::vector<char> chunk(1 << 16);
  while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || in.gcount() > 0) {
    hash.add(chunk.data(), static_cast<std::size_t>(in.gcount()));
  }
  digest.sha256 = hash.hex();
  return digest;
}

std::string sha256_of(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
}

void prepare_output_folder(const fs::path& path, bool may_hold_files) {
  std::error_code error;
  if (fs::exists(path, error)) {
    if (!fs::is_directory(path, error)) {
      throw UsageError(fmt::format("--out {}: exists and is not a folder; give a new or empty folder", path.string()));
    }
    if (!may_hold_files && !fs::is_empty(path, error)) {
      throw UsageError(fmt::format("--out {}: is not empty; give a new or empty folder", path.string()));
    }
  } else {
    fs::create_directories(path, error);
    if (error) throw UsageError(fmt::format("--out {}: cannot be created ({})", path.string(), error.message()));
  }
  if (::access(path.c_str(), W_OK | X_OK) != 0) {
    throw UsageError(fmt::format("--out {}: cannot be written to ({})", path.string(), std::strerror(errno)));
  }
}

std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

}  // namespace afterimage
