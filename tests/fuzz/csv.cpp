#include "models/formats/csv.h"

#include <initializer_list>

#include "tests/fuzz/fuzz.h"

using namespace afterimage;

// With columns that are found by what the lines hold, and that are named. A column that is not there is a correct
// answer.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::read_bytes(test::view(data, size), [](const std::filesystem::path& path) {
    for (const CsvColumns& columns :
         {CsvColumns{}, {"1", {}}, {"-1", {"1"}}, {"label", {"x", "2"}}, {"", {}, "1", "2"}}) {
      try {
        read_csv(path, columns);
      } catch (const InputError&) {
      } catch (const UsageError&) {
      }
    }
  });
  return 0;
}
