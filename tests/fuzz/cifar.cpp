// Both versions: CIFAR-100 has one label more in a record.
#include "models/formats/cifar.h"

#include "tests/fuzz/fuzz.h"

using namespace afterimage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::read_bytes(test::view(data, size), [](const std::filesystem::path& path) { read_cifar(path, 1, 10); });
  test::read_bytes(test::view(data, size), [](const std::filesystem::path& path) { read_cifar(path, 2, 100); });
  return 0;
}
