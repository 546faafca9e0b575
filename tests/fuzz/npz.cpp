// Whole files, and arrays in an otherwise valid file.
#include "models/formats/npz.h"

#include "tests/formats/raw_zip.h"
#include "tests/fuzz/fuzz.h"

using namespace afterimage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = test::view(data, size);
  const auto read = [](const std::filesystem::path& path) { read_npz(path); };
  test::read_bytes(bytes, read);
  if (!bytes.starts_with("PK")) test::read_bytes(test::raw_zip({{"a.npy", std::string(bytes), bytes.size()}}), read);
  return 0;
}
