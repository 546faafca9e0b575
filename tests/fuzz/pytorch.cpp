// Whole files, and pickles in an otherwise valid file, as the fuzzer would not get past a zip's checksums.
#include "models/formats/pytorch.h"

#include "tests/formats/raw_zip.h"
#include "tests/fuzz/fuzz.h"

using namespace afterimage;

namespace {

void read_any(const std::filesystem::path& path) {
  if (is_torchscript(path)) {
    read_torchscript_parameters(path);
  } else {
    read_pytorch(path);
  }
}

std::string archive_of(std::string_view pickle, bool script) {
  std::vector<test::Member> members = {{"a/data.pkl", std::string(pickle), pickle.size()}};
  for (int i = 0; i < 8; ++i) members.push_back({"a/data/" + std::to_string(i), std::string(8 << i, '\1'), 8ULL << i});
  if (script) members.push_back({"a/constants.pkl", ").", 2});
  return test::raw_zip(members);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = test::view(data, size);
  test::read_bytes(bytes, read_any);
  if (bytes.starts_with("PK")) return 0;
  test::read_bytes(archive_of(bytes, false), read_any);
  test::read_bytes(archive_of(bytes, true), read_any);
  return 0;
}
