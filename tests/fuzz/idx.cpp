#include "models/formats/idx.h"

#include "tests/fuzz/fuzz.h"

using namespace afterimage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::read_bytes(test::view(data, size), [](const std::filesystem::path& path) { read_idx(path); });
  return 0;
}
