#include "tests/formats/hostile.h"

#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "models/formats/cifar.h"
#include "models/formats/csv.h"
#include "models/formats/idx.h"
#include "models/formats/npz.h"
#include "models/formats/safetensors.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

using test::bytes_of;
using test::check_refused;
using test::Folder;
using test::raw_zip;
using test::repeated;

void check_idx(const std::string& what, const fs::path& file) {
  check_refused(what, file, [](const fs::path& path) { read_idx(path); });
}
void check_safetensors(const std::string& what, const fs::path& file) {
  check_refused(what, file, [](const fs::path& path) { read_safetensors(path); });
}
void check_npz(const std::string& what, const fs::path& file) {
  check_refused(what, file, [](const fs::path& path) { read_npz(path); });
}

std::string gzip(const std::string& bytes) { return test::deflated(bytes, 15 + 16); }

std::string safetensors(const std::string& header, const std::string& data = "") {
  const std::uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

std::string npy(const std::string& header, const std::string& data = "", int version = 1) {
  const auto size = static_cast<std::uint16_t>(header.size());
  return "\x93NUMPY" + bytes_of({version, 0}) + std::string(reinterpret_cast<const char*>(&size), 2) + header + data;
}

fs::path zip_of(const Folder& folder, const std::vector<std::pair<std::string, std::string>>& members) {
  const auto path = folder.at("archive.npz");
  fs::remove(path);
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE, nullptr);
  for (const auto& [name, bytes] : members) {
    zip_file_add(zip, name.c_str(), zip_source_buffer(zip, bytes.data(), bytes.size(), 0), 0);
  }
  zip_close(zip);
  return path;
}

std::size_t resident_kibibytes() {
  std::size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * 4;
}

}  // namespace

TEST_CASE("what an .npz holds that is no number is passed over unread, with its name") {
  const Folder folder;
  const std::string sixteen(16, '\x01');
  const std::pair<const char*, const char*> kinds[] = {
      {"'|O'", "Python objects (|O)"},  {"'<c8'", "complex (<c8)"},
      {"'<U2'", "text (<U2)"},          {"'|S8'", "text (|S8)"},
      {"'<M8[ns]'", "dates (<M8[ns])"}, {"[('x', '<f4'), ('y', [('z', '<f4')])]", "a structured array"}};
  for (const auto& [descriptor, what] : kinds) {
    CAPTURE(descriptor);
    const auto file = zip_of(
        folder,
        {{"a.npy", npy(std::string("{'descr': ") + descriptor + ", 'fortran_order': False, 'shape': (2,), }", sixteen)},
         {"b.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", sixteen)}});
    const ArrayFile read = read_npz_file(file);
    REQUIRE(read.passed_over.size() == 1);
    CHECK(read.passed_over[0].name == "a");
    CHECK(read.passed_over[0].what == what);
    CHECK(read.arrays.size() == 1);
  }
}

TEST_CASE("hostile IDX files are refused, and none is inflated past the size in its header") {
  const Folder folder;
  const std::string header = bytes_of({0, 0, 8, 1, 0, 0, 0, 4});
  for (const auto& [what, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"empty", ""},
           {"three bytes", bytes_of({0, 0, 8})},
           {"wrong magic", bytes_of({1, 2, 8, 1, 0, 0, 0, 1, 9})},
           {"floats", bytes_of({0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0})},
           {"rank 0", bytes_of({0, 0, 8, 0, 7})},
           {"rank 9", bytes_of({0, 0, 8, 9, 0, 0, 0, 1})},
           {"header cut off", bytes_of({0, 0, 8, 3, 0, 0, 0, 1, 0, 0})},
           {"truncated", header + "abc"},
           {"oversized", header + "abcde"},
           {"sizes that overflow",
            bytes_of({0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})},
           {"four gigabytes promised", bytes_of({0, 0, 8, 1, 255, 255, 255, 255, 1})},
           {"gzip cut off", gzip(header + "abcd").substr(0, 20)},
           {"gzip with a wrong checksum",
            [&] {
              auto z = gzip(header + "abcd");
              z[z.size() - 6] ^= 1;
              return z;
            }()},
           {"gzip truncated inside", gzip(header + "abc")},
       }) {
    check_idx(what, folder.write("data", bytes));
  }
  // Noise does not deflate: the stream is longer than any buffer, so that its trailer is read on its own.
  std::string noise;
  std::uint32_t state = 1;
  for (int i = 0; i < 1 << 20; ++i) noise += static_cast<char>((state = state * 1664525U + 1013904223U) >> 24);
  const std::string large = gzip(bytes_of({0, 0, 8, 1, 0, 16, 0, 0}) + noise);
  CHECK(read_idx(folder.write("large.gz", large)).elements() == 1 << 20);
  for (const std::size_t lost : {1, 4, 7, 8, 9, 100, 500'000}) {
    check_idx("without its last bytes", folder.write("cut.gz", large.substr(0, large.size() - lost)));
  }
  std::string flipped = large;
  flipped[flipped.size() - 7] ^= 1;
  check_idx("large gzip with a wrong checksum", folder.write("flipped.gz", flipped));
  check_idx("large gzip of too many bytes", folder.write("more.gz", gzip(bytes_of({0, 0, 8, 1, 0, 15, 0, 0}) + noise)));
  const auto before = resident_kibibytes();
  const std::string promising = bytes_of({0, 0, 8, 1, 6, 0, 0, 0});  // 100,663,296 bytes
  check_idx("a gzip bomb that keeps its promise but for a byte",
            folder.write("bomb.gz", gzip(promising + std::string(100'663'295, '\0'))));
  check_idx("a gzip bomb with a wrong checksum", [&] {
    std::string bomb = gzip(promising + std::string(100'663'296, '\0'));
    bomb[bomb.size() - 6] ^= 1;
    return folder.write("bomb.gz", bomb);
  }());
  check_idx("gzip bomb", folder.write("bomb.gz", gzip(header + std::string(200'000'000, '\0'))));
  check_idx("a plain file that promises a thousand times its size",
            folder.write("promise", bytes_of({0, 0, 8, 1, 59, 0, 0, 0}) + std::string(1'000'000, '\0')));
  CHECK(resident_kibibytes() < before + 64 * 1024);
  CHECK_THROWS_AS(read_idx(folder.at("missing")), InputError);
  CHECK_THROWS_AS(read_idx(folder.at(".")), InputError);
  CHECK(read_idx(folder.write("good", header + "abcd")).elements() == 4);
  CHECK(read_idx(folder.write("good.gz", gzip(header + "abcd"))).elements() == 4);
}

TEST_CASE("a dtype that is not known is passed over, and what it is called cannot write to a terminal") {
  const Folder folder;
  const std::string header =
      "{\"\\u001b[31m\":{\"dtype\":\"\\u001b]0;x\\u0007\\n\",\"shape\":[2],\"data_offsets\":[0,8]}}";
  const auto file = folder.write("a.safetensors", test::little_endian(header.size(), 8) + header + std::string(8, 'x'));
  const Safetensors read = read_safetensors(file);
  CHECK(read.arrays.empty());
  REQUIRE(read.passed_over.size() == 1);
  for (const char c : passed_over_text(read.passed_over)) CHECK(static_cast<unsigned char>(c) >= 0x20);
}

TEST_CASE("hostile safetensors files are refused") {
  const Folder folder;
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
  };
  const std::string eight(8, '\1');
  const std::string good = tensor("F32", "[2]", "[0,8]");
  for (const auto& [what, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"empty", ""},
           {"seven bytes", "1234567"},
           {"terabyte header", bytes_of({0, 0, 0, 0, 0, 1, 0, 0}) + "{}"},
           {"header of 2^64 - 1", std::string(8, '\xff') + "{}"},
           {"not JSON", safetensors("hello")},
           {"not an object", safetensors("[]")},
           {"deeply nested", safetensors(std::string(1'000'000, '['))},
           {"deeply nested objects", safetensors([] {
              std::string s;
              for (int i = 0; i < 100000; ++i) s += "{\"a\":";
              return s;
            }())},
           {"duplicate name", safetensors("{\"a\":" + good + ",\"a\":" + good + "}", eight)},
           {"unknown dtype past the file", safetensors("{\"a\":" + tensor("F12", "[2]", "[0,9]") + "}", eight)},
           {"unknown dtype over another",
            safetensors("{\"a\":" + tensor("F12", "[2]", "[0,8]") + ",\"b\":" + tensor("F32", "[1]", "[4,8]") + "}",
                        eight)},
           {"dtype no string", safetensors("{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", eight)},
           {"end past the file", safetensors("{\"a\":" + tensor("F32", "[4]", "[0,16]") + "}", eight)},
           {"begin after end", safetensors("{\"a\":" + tensor("F32", "[2]", "[8,0]") + "}", eight)},
           {"negative offset", safetensors("{\"a\":" + tensor("F32", "[2]", "[-8,0]") + "}", eight)},
           {"offset beyond 64 bits",
            safetensors("{\"a\":" + tensor("F32", "[2]", "[0,99999999999999999999]") + "}", eight)},
           {"overlap", safetensors("{\"a\":" + good + ",\"b\":" + tensor("F32", "[1]", "[4,8]") + "}", eight)},
           {"hole", safetensors("{\"a\":" + tensor("F32", "[1]", "[4,8]") + "}", eight)},
           {"bytes that belong to none", safetensors("{\"a\":" + tensor("F32", "[1]", "[0,4]") + "}", eight)},
           {"shape that does not fit", safetensors("{\"a\":" + tensor("F32", "[3]", "[0,8]") + "}", eight)},
           {"shape that overflows",
            safetensors("{\"a\":" + tensor("F32", "[4611686018427387904,4611686018427387904]", "[0,8]") + "}", eight)},
           {"negative size", safetensors("{\"a\":" + tensor("F32", "[-2]", "[0,8]") + "}", eight)},
           {"a size that is no number", safetensors("{\"a\":" + tensor("F32", "[\"2\"]", "[0,8]") + "}", eight)},
           {"missing offsets", safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", eight)},
           {"metadata that is no text", safetensors("{\"__metadata__\":{\"x\":1}}")},
           {"metadata that is no object", safetensors("{\"__metadata__\":\"x\"}")},
           {"metadata that is a list", safetensors("{\"__metadata__\":[\"x\"]}")},
           {"half a million names", safetensors([] {
              std::string s = "{";
              for (int i = 0; i < 500'000; ++i) s += "\"" + std::to_string(i) + "\":0,";
              return s + "\"x\":0}";
            }())},
           {"a header of millions of numbers", safetensors("{\"a\":{\"shape\":[" + repeated("0,", 5'000'000) + "0]}}")},
           {"a header of millions of lists", safetensors("{\"a\":[" + repeated("[],", 3'000'000) + "0]}")},
           {"a header of objects with the same names",
            safetensors("{\"a\":[" + repeated(R"({"b":0,"c":{"d":{}}},)", 500'000) + "0]}")},
           {"a text of twenty megabytes", safetensors("{\"a\":\"" + std::string(20'000'000, 'x') + "\"}")},
           {"forty megabytes of which the last byte is missing",
            safetensors("{\"a\":" + tensor("U8", "[40000000]", "[0,40000000]") + "}", std::string(39'999'999, 'x'))},
           {"a name that is not UTF-8", safetensors("{\"\xff\xfe\":" + good + "}", eight)},
           {"a name of a megabyte",
            safetensors("{\"" + std::string(1'000'000, 'a') + "\":" + tensor("F32", "[3]", "[0,8]") + "}", eight)},
           {"two names that overlap and break lines",
            safetensors("{\"a\":" + good + ",\"b\\n\\r\\u001b[2J\":" + good + "}", eight)},
           {"one name with a line break twice", safetensors("{\"a\\n\":" + good + ",\"a\\n\":" + good + "}", eight)},
           {"text after the header's object", safetensors("{} {}")},
           {"the data cut off", safetensors("{\"a\":" + good + "}", "1234567")},
           {"the data too long", safetensors("{\"a\":" + good + "}", "123456789")},
           {"a name that writes to the terminal",
            safetensors("{\"\\u001b[31m\\n\":" + tensor("F32", "[3]", "[0,8]") + "}", eight)},
       }) {
    check_safetensors(what, folder.write("weights.safetensors", bytes));
  }
  CHECK(read_safetensors(folder.write("good.safetensors", safetensors("{\"a\":" + good + "}", eight))).arrays.size() ==
        1);
}

TEST_CASE("hostile JSON is refused, and so are more values than memory holds") {
  const Folder folder;
  const auto refused = [&](const std::string& what, const std::string& named, const std::string& text,
                           std::size_t most_values = most_json_values) {
    const auto read = [&](const fs::path& path) { parse_json(read_file(path, 1 << 24), path.string(), most_values); };
    check_refused(what, folder.write("t.json", text), read, named);
  };
  const auto nested = [](std::size_t depth, const std::string& inmost) {
    return std::string(depth, '[') + inmost + std::string(depth, ']');
  };
  refused("empty", "not valid JSON", "");
  refused("cut off", "not valid JSON", R"({"a": [1, 2)");
  refused("text after the document", "not valid JSON", "{} {}");
  refused("NaN", "not valid JSON", "[NaN]");
  refused("Infinity", "not valid JSON", "[-Infinity]");
  refused("a number that no double holds", "not valid JSON", "[1e400]");
  refused("bytes that are not UTF-8", "not valid JSON", "\"\xff\"");
  refused("a name twice", "the name \"a\" twice", R"({"a": 1, "b": {"a": 2}, "a": 3})");
  refused("lists in lists", "deeper than 64", nested(65, "0"));
  refused("objects in objects", "deeper than 64", repeated("{\"a\":", 100'000));
  refused("an object of many names", "more than 16384 names", [] {
    std::string text = "{";
    for (int i = 0; i < 16385; ++i) text += "\"" + std::to_string(i) + "\":0,";
    return text + "\"x\":0}";
  }());
  refused("a list of five values", "more than 5 values and names", "[0,0,0,0,0]", 5);
  refused("two names and their values in an object", "more than 4 values and names", R"({"a":0,"b":0})", 4);
  refused("a million lists", "more than 100000 values", "[" + repeated("[],", 1'000'000) + "0]", 100'000);
  CHECK(parse_json(nested(64, "0"), "t.json") == nlohmann::ordered_json::parse(nested(64, "0")));
  CHECK(parse_json("[0,0,0,0]", "t.json", 5).size() == 4);
  const std::string good =
      R"({"z": [1, -2, 2.5e3, 18446744073709551615], "a": {"b": {}, "": [[], [{"c": "\u00e9\n"}]]}, "k": [null]})";
  CHECK(parse_json(good, "t.json").dump() == nlohmann::ordered_json::parse(good).dump());
}

TEST_CASE("the time to parse JSON does not grow with the square of its length") {
  const auto shortest = [](const std::string& text) {
    double seconds = 1e9;
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      parse_json(text, "t.json");
      seconds = std::min(seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return seconds;
  };
  const auto objects = [](std::size_t count) { return "[" + repeated("{},", count) + "{}]"; };
  CHECK(shortest(objects(200'000)) < 40 * shortest(objects(20'000)));
  const auto names = [](int count) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) text += "\"name " + std::to_string(i) + "\":0,";
    return text + "\"x\":0}";
  };
  CHECK(shortest(names(16'000)) < 60 * shortest(names(1'600)));
}

TEST_CASE("hostile NumPy archives are refused") {
  const Folder folder;
  const std::string four(16, '\0');
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n";
  // `flipped` is a byte of the directory's first entry that is made another, and in the member's own header.
  const auto refused = [&](const std::string& what, const std::vector<std::pair<std::string, std::string>>& members,
                           std::size_t flipped = 0) {
    const fs::path file = zip_of(folder, members);
    if (flipped > 0) {
      std::string bytes = read_file(file, 1 << 24);
      bytes[flipped] = static_cast<char>(bytes[flipped] ^ 1);
      const auto entry = bytes.find("PK\1\2");
      bytes[entry + flipped + 2] = static_cast<char>(bytes[entry + flipped + 2] ^ 1);
      folder.write(file.filename(), bytes);
    }
    check_npz(what, file);
  };
  check_npz("not a zip", folder.write("a.npz", "hello"));
  check_npz("empty", folder.write("a.npz", ""));
  refused("big-endian of another size",
          {{"a.npy", npy("{'descr': '>f8', 'fortran_order': False, 'shape': (4,), }", four)}});
  refused("fields that do not end", {{"a.npy", npy("{'descr': [('x', '<f4'), 'fortran_order': False, }", four)}});
  refused("a text in fields that does not end", {{"a.npy", npy("{'descr': [('x, <f4)], }", four)}});
  refused("long numbers of half the size",
          {{"a.npy", npy("{'descr': '<f16', 'fortran_order': False, 'shape': (2,), }", four)}});
  refused("long numbers whose size overflows",
          {{"a.npy", npy("{'descr': '<f16', 'fortran_order': False, 'shape': (1152921504606846976,), }", four)}});
  refused("too little data", {{"a.npy", npy(good, "abc")}});
  refused("too much data", {{"a.npy", npy(good, four + "abc")}});
  refused("a terabyte of shape",
          {{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", four)}});
  refused(
      "a shape that overflows",
      {{"a.npy",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }", four)}});
  refused("negative shape", {{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }", four)}});
  refused("code in the header", {{"a.npy", npy("__import__('os').system('true')", four)}});
  refused("a missing key", {{"a.npy", npy("{'descr': '<f4', 'shape': (4,), }", four)}});
  refused("a key twice",
          {{"a.npy", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", four)}});
  refused("an unknown key",
          {{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'x': 'y'}", four)}});
  refused("text after the header",
          {{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } + 1", four)}});
  refused("version 9", {{"a.npy", npy(good, four, 9)}});
  refused("no magic", {{"a.npy", "hello, this is not an array"}});
  refused("a header longer than the member", {{"a.npy", "\x93NUMPY" + bytes_of({1, 0, 255, 255}) + "{}"}});
  refused("another kind of member", {{"a.txt", "hello"}});
  refused("a path out of the archive", {{"../a.npy", npy(good, four)}});
  refused("a name that writes to the terminal", {{"\x1b[31m\n.npy", npy("hello")}});
  refused("an unknown type that writes to the terminal",
          {{"a.npy", npy("{'descr': '\x1b[2J\n', 'fortran_order': False, 'shape': (4,), }", four)}});
  refused("an empty header", {{"a.npy", npy("", four)}});
  refused("an open brace", {{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,", four)}});
  refused("no commas", {{"a.npy", npy("{'descr': '<f4' 'fortran_order': False 'shape': (4,)}", four)}});
  refused("sizes without commas", {{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}", four)}});
  refused("a truth of one", {{"a.npy", npy("{'descr': '<f4', 'fortran_order': 1, 'shape': (4,), }", four)}});
  refused("a shape of rank 1000", {{"a.npy", npy(
                                                 "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                                                     [] {
                                                       std::string s;
                                                       for (int i = 0; i < 1000; ++i) s += "1, ";
                                                       return s;
                                                     }() +
                                                     "), }",
                                                 four)}});
  refused("ten bytes", {{"a.npy", "\x93NUMPY" + bytes_of({2, 0, 1, 0})}});
  refused("a Windows path", {{"..\\a.npy", npy(good, four)}});
  refused("an absolute path", {{"/etc/a.npy", npy(good, four)}});

  const auto valid = zip_of(folder, {{"a.npy", npy(good, four)}});
  CHECK(read_npz(valid).size() == 1);
  const std::string bytes = read_file(valid, 1 << 20);
  check_npz("cut off", folder.write("cut.npz", bytes.substr(0, bytes.size() - 10)));
  std::string lying = bytes;  // another size in the central directory than in the member
  const auto directory = lying.find("PK\1\2");
  lying[directory + 24] ^= 1;
  check_npz("two sizes", folder.write("lie.npz", lying));
  std::string flipped = bytes;  // a bit of the packed data
  flipped[flipped.find("a.npy") + 8] ^= 4;
  check_npz("wrong checksum", folder.write("flip.npz", flipped));

  const std::string large =
      npy("{'descr': '|u1', 'fortran_order': False, 'shape': (40000000,), }", std::string(40'000'000, 'x'));
  check_npz("forty megabytes with a wrong checksum", [&] {
    std::string archive = raw_zip({{"a.npy", large, large.size()}});
    archive[1000] ^= 1;
    return folder.write("large.npz", archive);
  }());
  check_npz("forty megabytes that their shape does not fit",
            folder.write("large.npz", raw_zip({{"a.npy", npy(good, large), npy(good, large).size()}})));
  check_npz("forty megabytes before what is no array",
            folder.write("large.npz", raw_zip({{"a.npy", large, large.size()}, {"b.npy", "hello", 5}})));
  refused("a bomb that keeps its promise", {{"a.npy", npy(good, std::string(100'000'000, '\0'))}});
  refused("a bomb that its shape fits, with a wrong checksum",
          {{"a.npy",
            npy("{'descr': '|u1', 'fortran_order': False, 'shape': (100000000,), }", std::string(100'000'000, '\0'))}},
          14);
  refused("bombs one after the other",
          {{"a.npy", npy(good, std::string(60'000'000, '\0'))}, {"b.npy", npy(good, std::string(60'000'000, '\0'))}});

  const std::string member = npy(good, four);
  CHECK(read_npz(folder.write("raw.npz", raw_zip({{"a.npy", member, member.size()}}))).size() == 1);
  check_npz("a name twice",
            folder.write("raw.npz", raw_zip({{"a.npy", member, member.size()}, {"a.npy", member, member.size()}})));
  check_npz("a stored member of a declared gigabyte",
            folder.write("raw.npz", raw_zip({{"a.npy", member, 1ULL << 30}})));
  check_npz("a stored member declared shorter", folder.write("raw.npz", raw_zip({{"a.npy", member, 20}})));
}

TEST_CASE("hostile CSV tables are refused before they take much memory") {
  const Folder folder;
  const auto refused = [&](const std::string& what, const std::string& text) {
    check_refused(what, folder.write("t.csv", text), [](const fs::path& path) { read_csv(path); });
  };
  const std::string lines = repeated("1,1\n", 2'000'000);
  refused("empty", "");
  refused("eight megabytes with a gap in the last line", lines + ",1\n");
  refused("eight megabytes with a wider last line", lines + "1,1,1\n");
  refused("a line of commas", std::string(20'000'000, ','));
  refused("a line of as many fields as an input may have, then none", repeated("1,", 1 << 18) + "1\n1\n");
  refused("a header of twenty megabytes", std::string(20'000'000, 'x') + ",y\n");
  refused("a quote that is not closed", "\"" + std::string(20'000'000, '"'));
  refused("a label of a megabyte", "1," + std::string(1'000'000, 'x') + "\n");
  refused("a hundred thousand labels", [] {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "1,label " + std::to_string(i) + "\n";
    return text;
  }());
  refused("zero bytes", std::string(20'000'000, '\0'));
  refused("blank lines", std::string(20'000'000, '\n'));
  refused("numbers that no float has", "1e39e9,1\n");
  const CsvTable table = read_csv(folder.write("good.csv", lines), {"-1", {}});
  CHECK(table.values.shape == std::vector<std::int64_t>{2'000'000, 1});
  CHECK(table.labels == std::vector<std::string>{"1"});
}

TEST_CASE("hostile CIFAR files are refused") {
  const Folder folder;
  const auto refused = [&](const std::string& what, const std::string& bytes, std::size_t labels = 1) {
    check_refused(what, folder.write("data.bin", bytes),
                  [=](const fs::path& path) { read_cifar(path, labels, labels == 1 ? 10 : 100); });
  };
  refused("empty", "");
  refused("a byte short", std::string(3072, '\0'));
  refused("a byte more", std::string(3074, '\0'));
  refused("of the other version", std::string(3074, '\0'));
  refused("of the other version", std::string(3073, '\0'), 2);
  refused("a label that is none", std::string(3073, '\x0a'));
  refused("a fine label that is none", std::string(3074, 'd'), 2);
  refused("forty megabytes whose last label is none", std::string(13'000 * 3073, '\0') + std::string(3073, '\xff'));
  CHECK(read_cifar(folder.write("good.bin", std::string(2 * 3073, '\x09')), 1, 10).labels ==
        std::vector<std::int64_t>{9, 9});
}

TEST_CASE("column-major arrays are read in row-major order") {
  const Folder folder;
  const float values[] = {1, 3, 5, 2, 4, 6};  // [[1, 2], [3, 4], [5, 6]] by columns
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  const auto arrays =
      read_npz(zip_of(folder, {{"a.npy", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", data)}}));
  float read[6];
  std::memcpy(read, arrays[0].second.bytes.data(), sizeof read);
  for (int i = 0; i < 6; ++i) CHECK(read[i] == static_cast<float>(i + 1));
}

}  // namespace afterimage
