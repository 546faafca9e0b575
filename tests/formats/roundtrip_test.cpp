#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

#include "models/formats/npz.h"
#include "models/formats/safetensors.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

using test::Folder;

constexpr DType all_dtypes[] = {DType::u8,  DType::i8,   DType::i16, DType::i32, DType::i64,
                                DType::f16, DType::bf16, DType::f32, DType::f64, DType::boolean};

// Bytes that count up, from another start for each type; booleans alternate.
Array pattern(DType dtype, const std::vector<std::int64_t>& shape) {
  Array array{dtype, shape, {}};
  array.bytes.resize(*checked_bytes(shape, dtype));
  for (std::size_t i = 0; i < array.bytes.size(); ++i) {
    array.bytes[i] = static_cast<std::byte>(dtype == DType::boolean ? i % 2 : 37 * static_cast<int>(dtype) + i);
  }
  return array;
}

// One array of each type in each shape, in an order that sorting by name would change.
NamedArrays arrays_of_all_dtypes(bool with_bfloat16) {
  const std::pair<const char*, std::vector<std::int64_t>> shapes[] = {
      {"matrix", {2, 3}}, {"empty", {0}}, {"hollow", {3, 0, 2}}, {"scalar", {}}, {"cube", {2, 1, 5}}};
  NamedArrays arrays;
  for (const auto dtype : all_dtypes) {
    if (dtype == DType::bf16 && !with_bfloat16) continue;
    for (const auto& [name, shape] : shapes) arrays.emplace_back(name_of(dtype) + "." + name, pattern(dtype, shape));
  }
  return arrays;
}

void check_equal(const NamedArrays& read, const NamedArrays& written) {
  REQUIRE(read.size() == written.size());
  for (const auto& [name, array] : written) {
    CAPTURE(name);
    const Array* found = find(read, name);
    REQUIRE(found != nullptr);
    CHECK(found->dtype == array.dtype);
    CHECK(found->shape == array.shape);
    CHECK(found->bytes == array.bytes);
  }
}

std::vector<std::string> names_of(const NamedArrays& arrays) {
  std::vector<std::string> names;
  for (const auto& entry : arrays) names.push_back(entry.first);
  return names;
}

}  // namespace

TEST_CASE("safetensors files give back arrays of every type and shape, and the metadata, exactly") {
  const Folder folder;
  const Safetensors written{arrays_of_all_dtypes(true), {{"note", "two\nlines"}, {"format", "pt"}}};
  write_safetensors(folder.at("a.safetensors"), written);
  const Safetensors read = read_safetensors(folder.at("a.safetensors"));
  check_equal(read.arrays, written.arrays);
  CHECK(read.metadata == written.metadata);
}

TEST_CASE("safetensors files without empty arrays keep the order of their arrays") {
  const Folder folder;
  const NamedArrays arrays = {{"b", pattern(DType::f32, {2})}, {"a", pattern(DType::f32, {3})}};
  write_safetensors(folder.at("a.safetensors"), {arrays, {}});
  CHECK(names_of(read_safetensors(folder.at("a.safetensors")).arrays) == names_of(arrays));
}

TEST_CASE("a safetensors file that the Python package wrote holds what the package was given") {
  const Safetensors read = read_safetensors(TEST_DATA "/package.safetensors");
  CHECK(read.metadata == std::map<std::string, std::string>{{"format", "pt"}, {"note", "two\nlines"}});
  CHECK(read.arrays.size() == 6);
  const auto check = [&](const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
                         const auto& elements) {
    CAPTURE(name);
    const Array* array = find(read.arrays, name);
    REQUIRE(array != nullptr);
    CHECK(array->dtype == dtype);
    CHECK(array->shape == shape);
    REQUIRE(array->bytes.size() == elements.size() * sizeof(elements[0]));
    auto found = elements;
    std::memcpy(found.data(), array->bytes.data(), array->bytes.size());
    CHECK(found == elements);
  };
  check("z.weight", DType::f32, {2, 3}, std::vector<float>{1.5F, -2.25F, 3e-5F, 0, 1e30F, -7});
  check("half", DType::f16, {3}, std::vector<std::uint16_t>{0x3800, 0xbd00, 0x7bff});    // 0.5, -1.25, 65504
  check("brain", DType::bf16, {3}, std::vector<std::uint16_t>{0x3f80, 0xc040, 0x7f7f});  // 1, -3, the largest
  check("a.steps", DType::i64, {2}, std::vector<std::int64_t>{std::int64_t{1} << 40, -5});
  check("flag", DType::boolean, {3}, std::vector<std::uint8_t>{1, 0, 1});
  check("scalar", DType::f64, {}, std::vector<double>{2});
}

TEST_CASE("a safetensors file is written as the format says: length, JSON, bytes at their offsets") {
  const Folder folder;
  write_safetensors(folder.at("a.safetensors"),
                    {{{"w", array_of({2}, std::vector<float>{1, -2})}}, {{"format", "pt"}}});
  const std::string bytes = read_file(folder.at("a.safetensors"), 1 << 20);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  REQUIRE(bytes.size() == sizeof(length) + length + 2 * sizeof(float));
  const auto header = nlohmann::json::parse(bytes.substr(sizeof(length), length));
  CHECK(header == nlohmann::json::parse(R"({"__metadata__": {"format": "pt"},
                                            "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})"));
  std::vector<float> elements(2);
  std::memcpy(elements.data(), bytes.data() + sizeof(length) + length, 2 * sizeof(float));
  CHECK(elements == std::vector<float>{1, -2});
}

TEST_CASE("a safetensors file without tensors is read as an empty one") {
  const Folder folder;
  write_safetensors(folder.at("a.safetensors"), {});
  CHECK(read_safetensors(folder.at("a.safetensors")).arrays.empty());
}

TEST_CASE("tensors of a safetensors file start at a multiple of eight bytes") {
  const Folder folder;
  for (const char* name : {"a", "ab", "abc", "abcdefgh"}) {
    write_safetensors(folder.at("a.safetensors"), {{{name, pattern(DType::f64, {1})}}, {}});
    CHECK(bytes_in(folder.at("a.safetensors")) % 8 == 0);
  }
}

TEST_CASE("names that break lines or quotes survive a safetensors file") {
  const Folder folder;
  const NamedArrays arrays = {{"a\n\x1b[31m\"\\", pattern(DType::f32, {1})}, {"\xc3\xa9", pattern(DType::f32, {1})}};
  write_safetensors(folder.at("a.safetensors"), {arrays, {}});
  check_equal(read_safetensors(folder.at("a.safetensors")).arrays, arrays);
}

TEST_CASE("NumPy archives give back arrays of every type that NumPy has, in their order, exactly") {
  const Folder folder;
  const NamedArrays arrays = arrays_of_all_dtypes(false);
  write_npz(folder.at("a.npz"), arrays);
  check_equal(read_npz(folder.at("a.npz")), arrays);
  CHECK(names_of(read_npz(folder.at("a.npz"))) == names_of(arrays));
}

TEST_CASE("names of variables as Keras writes them are read from a NumPy archive, and drive letters are not") {
  const Folder folder;
  const NamedArrays arrays = {{"dense/kernel:0", pattern(DType::f32, {2, 3})}};
  write_npz(folder.at("a.npz"), arrays);
  check_equal(read_npz(folder.at("a.npz")), arrays);
  write_npz(folder.at("b.npz"), {{"c:kernel", pattern(DType::f32, {2})}});
  CHECK_THROWS_AS(read_npz(folder.at("b.npz")), InputError);
}

TEST_CASE("a NumPy archive of bfloat16 is not written") {
  const Folder folder;
  CHECK_THROWS_AS(write_npz(folder.at("a.npz"), {{"a", pattern(DType::bf16, {2})}}), std::invalid_argument);
  CHECK(folder.entries() == 0);
}

TEST_CASE("the same arrays are written as the same bytes, whatever the time or the file's name") {
  const Folder folder;
  const NamedArrays arrays = arrays_of_all_dtypes(false);
  write_npz(folder.at("a.npz"), arrays);
  std::filesystem::create_directory(folder.at("other"));
  write_npz(folder.at("other/b.npz"), arrays);
  CHECK(read_file(folder.at("a.npz"), 1 << 20) == read_file(folder.at("other/b.npz"), 1 << 20));
  write_npz(folder.at("a.npz"), arrays);  // over what is there
  CHECK(read_file(folder.at("a.npz"), 1 << 20) == read_file(folder.at("other/b.npz"), 1 << 20));
}

TEST_CASE("writing leaves only the file in its folder, and a failed write leaves nothing") {
  const Folder folder;
  const NamedArrays arrays = {{"a", pattern(DType::f32, {2})}};
  write_file(folder.at("text"), "first");
  write_file(folder.at("text"), "second");
  CHECK(read_file(folder.at("text"), 6) == "second");
  write_npz(folder.at("a.npz"), arrays);
  write_safetensors(folder.at("a.safetensors"), {arrays, {}});
  CHECK(folder.entries() == 3);

  std::filesystem::create_directories(folder.at("taken/inside"));
  CHECK_THROWS_AS(write_file(folder.at("taken"), "text"), std::runtime_error);
  CHECK_THROWS_AS(write_npz(folder.at("taken"), arrays), std::runtime_error);
  CHECK_THROWS_AS(write_file(folder.at("missing/text"), "text"), std::runtime_error);
  CHECK_THROWS_AS(write_npz(folder.at("missing/a.npz"), arrays), std::runtime_error);
  CHECK(folder.entries() == 4);
}

TEST_CASE("a file over the limit, a folder and a missing file are not read") {
  const Folder folder;
  folder.write("six", "sixsix");
  CHECK(read_file(folder.at("six"), 6) == "sixsix");
  CHECK_THROWS_AS(read_file(folder.at("six"), 5), InputError);
  CHECK_THROWS_AS(read_file(folder.at("."), 100), InputError);
  CHECK_THROWS_AS(read_file(folder.at("missing"), 100), InputError);
  CHECK_THROWS_AS(bytes_in("/dev/zero"), InputError);
  CHECK_THROWS_AS(digest_of(folder.at("missing")), InputError);
}

TEST_CASE("SHA-256 is that of FIPS 180-2, of text and of files longer than a chunk") {
  const Folder folder;
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  CHECK(sha256_of("abc") == abc);
  CHECK(sha256_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest_of(folder.write("abc", "abc")).sha256 == abc);
  CHECK(digest_of(folder.at("abc")).bytes == 3);
  const auto million = digest_of(folder.write("million", std::string(1'000'000, 'a')));
  CHECK(million.sha256 == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  CHECK(million.bytes == 1'000'000);
}

TEST_CASE("base64 is that of RFC 4648") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) CHECK(base64(plain) == encoded);
  CHECK(base64(std::string("\xff\x00\xfb\xf0", 4)) == "/wD78A==");
}

TEST_CASE("text from files is printed without control characters and no longer than a line") {
  CHECK(printable("fc1.weight") == "fc1.weight");
  CHECK(printable("a\nb\r\t") == "a\\x0ab\\x0d\\x09");
  CHECK(printable("\x1b[31m\x7f") == "\\x1b[31m\\x7f");
  CHECK(printable("\xc3\xa9") == "\\xc3\\xa9");
  CHECK(printable(std::string(1, '\0')) == "\\x00");
  CHECK(printable(std::string(80, 'a')) == std::string(80, 'a'));
  CHECK(printable(std::string(81, 'a')) == std::string(80, 'a') + "...");
}

}  // namespace afterimage
