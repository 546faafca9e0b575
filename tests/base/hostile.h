// What tests of hostile files share.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "base/raw_zip.h"
#include "models/base/error.h"

namespace afterimage::test {

// The refusal has to be one line that names the file and says more than its name.
template <class Read>
void check_refused(const std::string& what, const std::filesystem::path& file, Read read) {
  CAPTURE(what);
  std::string message;
  try {
    read(file);
  } catch (const InputError& error) {
    message = error.what();
  }
  CAPTURE(message);
  CHECK(message.starts_with(file.string() + ": "));
  CHECK(message.size() > file.string().size() + 10);
  CHECK(message.size() < file.string().size() + 400);
  CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
}

// What zlib packs, with its own header, that of gzip or none, as its window bits say.
inline std::string deflated(const std::string& bytes, int window_bits) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace afterimage::test
