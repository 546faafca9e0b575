// The JSON parser of reports, policies and model descriptions.
#include "models/foundations/json.h"

#include "models/foundations/files.h"
#include "tests/fuzz/fuzz.h"

using namespace afterimage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::read_bytes(test::view(data, size),
                   [](const std::filesystem::path& path) { parse_json(read_file(path, 1 << 20), path.string()); });
  return 0;
}
