// Files written by PyTorch (tests/models/pytorch_fixtures.py), compared with the arrays that PyTorch saved beside them.
#include "models/formats/pytorch.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>

#include "models/formats/npz.h"
#include "models/formats/pickle.h"
#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

const fs::path fixtures = fs::path(TEST_DATA) / "pytorch";
constexpr const char* versions[] = {"1.13", "2.13"};

// NumPy has no bfloat16: the fixtures' expected values have it as float32, whose upper half it is.
void check_bfloat16(const Array& read, const Array& expected) {
  REQUIRE(expected.dtype == DType::f32);
  REQUIRE(2 * read.bytes.size() == expected.bytes.size());
  for (std::size_t i = 0; i < read.bytes.size(); i += 2) {
    CHECK(std::memcmp(&read.bytes[i], &expected.bytes[2 * i + 2], 2) == 0);
    CHECK((expected.bytes[2 * i] == std::byte{0} && expected.bytes[2 * i + 1] == std::byte{0}));
  }
}

void check_equal(const NamedArrays& read, const fs::path& expected_file) {
  const NamedArrays expected = read_npz(expected_file);
  REQUIRE(read.size() == expected.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    CAPTURE(expected[i].first);
    const Array &array = read[i].second, &values = expected[i].second;
    CHECK(read[i].first == expected[i].first);
    CHECK(array.shape == values.shape);
    if (array.dtype == DType::bf16) {
      check_bfloat16(array, values);
    } else {
      CHECK(array.dtype == values.dtype);
      CHECK(array.bytes == values.bytes);
    }
  }
}

std::string message_of(const fs::path& file, const std::string& key = "") {
  try {
    read_pytorch(file, key);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string notes_of(const fs::path& file, const std::string& key = "") {
  std::string all;
  for (const auto& note : read_weight_file(file, key).content.notes) all += note + "\n";
  return all;
}

}  // namespace

TEST_CASE("state dicts of PyTorch 1.13 and 2.13 are read to the last bit, in their order") {
  for (const auto* version : versions) {
    int files = 0;
    for (const auto& entry : fs::directory_iterator(fixtures / version)) {
      const fs::path expected = fs::path(entry.path()).replace_extension(".npz");
      if (entry.path().extension() != ".pt" || !fs::exists(expected)) continue;
      CAPTURE(entry.path().string());
      const bool script = entry.path().stem() == "script";
      CHECK(is_torchscript(entry.path()) == script);
      check_equal(read_weight_file(entry.path()).content.arrays, expected);
      ++files;
    }
    CHECK(files == 15);
  }
}

TEST_CASE("one state dict in a checkpoint is found, and of several the one that the key names") {
  for (const auto* version : versions) {
    const fs::path folder = fixtures / version;
    CHECK(contains(notes_of(folder / "checkpoint.pt"), "state dict at \"model\""));
    check_equal(read_pytorch(folder / "checkpoint.pt", "model").arrays, folder / "checkpoint.npz");
    for (const std::string key : {"model", "ema.model"}) {
      check_equal(read_pytorch(folder / "two.pt", key).arrays, folder / ("two@" + key + ".npz"));
    }
    check_equal(read_pytorch(folder / "two.pt", "ema").arrays, folder / "two@ema.model.npz");
    CHECK(contains(message_of(folder / "two.pt"), "2 state dicts; choose one with --key: model, ema.model"));
    for (const char* wrong : {"nothing", "model.9", "ema.model.0.weight", "ema.decay", "."}) {
      CHECK_THROWS_AS(read_pytorch(folder / "two.pt", wrong), UsageError);
    }
    // A part of one, as of a module that holds a teacher and a student.
    const ArrayFile part = read_pytorch(folder / "two.pt", "ema.model.0");
    REQUIRE(part.arrays.size() == 2);
    CHECK(part.arrays[0].first == "weight");
    CHECK(contains(part.notes.back(), "those whose names begin with \"0.\""));
    CHECK(read_pytorch(folder / "two.pt", "model.0").arrays.size() == 2);
    CHECK_THROWS_WITH(read_pytorch(folder / "two.pt", "0"), Catch::Contains("--key: model.0, ema.model.0"));
  }
}

TEST_CASE("prefixes that all names share are removed, with a note") {
  for (const auto* version : versions) {
    CHECK(contains(notes_of(fixtures / version / "module-prefix.pt"), "without their \"module.\""));
    for (const char* part : {"module.", "_orig_mod."}) {
      CHECK(contains(notes_of(fixtures / version / "compiled-prefix.pt"), fmt::format("without their \"{}\"", part)));
    }
    CHECK(notes_of(fixtures / version / "dense.pt").empty());
  }
}

TEST_CASE("a file without a state dict is refused with how to write one") {
  for (const auto* version : versions) {
    const fs::path folder = fixtures / version;
    CHECK(contains(message_of(folder / "before-1.6.pt"), "format of PyTorch before 1.6"));
    CHECK(contains(message_of(folder / "module.pt"), "torch.nn.modules.container.Sequential"));
    CHECK(contains(message_of(folder / "module.pt"), "save model.state_dict() alone"));
    CHECK(contains(message_of(folder / "tensor.pt"), "holds a tensor, not a state dict"));
    CHECK(contains(message_of(folder / "script.pt"), "TorchScript"));
    CHECK_THROWS_AS(read_torchscript_parameters(folder / "dense.pt"), InputError);
  }
  CHECK(contains(message_of(fixtures / "2.13" / "dense.npz"), "without a data.pkl"));
}

TEST_CASE("a PyTorch file with one byte changed is refused or read the same, and one cut off is refused") {
  const test::Folder folder;
  const std::string good = read_file(fixtures / "1.13" / "views.pt", 1 << 20);
  int refused = 0;
  for (std::size_t i = 0; i < good.size(); i += 7) {
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 0x41);
    const fs::path file = folder.write("changed.pt", changed);
    try {
      check_equal(read_pytorch(file).arrays, fixtures / "1.13" / "views.npz");
    } catch (const InputError&) {
      ++refused;
    }
    fs::resize_file(file, i);
    CHECK_THROWS_AS(read_pytorch(file), InputError);  // cut off there
  }
  CHECK(refused > static_cast<int>(good.size()) / 14);
}

TEST_CASE("a pickle's opcodes take their values from where Python does") {
  // Of protocol 0, by hand: a dict of a text, a memo and a list.
  const std::string bytes = "(dp0\nS'a'\np1\n(lp2\nI3\naL-4L\naF0.5\naI01\naNag1\nas.";
  const Pickle pickle = parse_pickle(bytes, "a.pkl", PickleNames::state_dict);
  const PickleValue& root = pickle[pickle.root];
  REQUIRE(root.kind == PickleKind::dict);
  REQUIRE(root.items.size() == 2);
  CHECK(pickle[root.items[0]].text == "a");
  const auto& list = pickle[root.items[1]].items;
  REQUIRE(list.size() == 6);
  CHECK(pickle[list[0]].integer == 3);
  CHECK(pickle[list[1]].integer == -4);
  CHECK(pickle[list[2]].real == 0.5);
  CHECK(pickle[list[3]].boolean);
  CHECK(pickle[list[4]].kind == PickleKind::none);
  CHECK(list[5] == root.items[0]);  // one value, shared
}

}  // namespace afterimage
