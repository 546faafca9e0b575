// What tests of hostile files share.
#pragma once

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

}  // namespace afterimage::test
