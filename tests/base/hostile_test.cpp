#include <unistd.h>
#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "models/base/error.h"
#include "models/base/files.h"
#include "models/base/idx.h"
#include "models/base/npz.h"
#include "models/base/safetensors.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "afterimage-hostile-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }
  fs::path at(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

// The refusal has to be one line that names the file.
template <class Read>
void check_refused(const std::string& what, const fs::path& file, Read read) {
  CAPTURE(what);
  std::string message;
  try {
    read(file);
  } catch (const InputError& error) {
    message = error.what();
  }
  CHECK_FALSE(message.empty());
  CHECK(message.find(file.string()) != std::string::npos);
  CHECK(std::all_of(message.begin(), message.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20; }));
}

std::string bytes_of(std::initializer_list<int> values) {
  std::string bytes;
  for (const int value : values) bytes += static_cast<char>(value);
  return bytes;
}

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

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

TEST_CASE("no hostile IDX file is read, and none is inflated past what its header promises") {
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
    check_refused(what, folder.write("data", bytes), [](const fs::path& file) { read_idx(file); });
  }
  const auto before = resident_kibibytes();
  check_refused("gzip bomb", folder.write("bomb.gz", gzip(header + std::string(300'000'000, '\0'))),
                [](const fs::path& file) { read_idx(file); });
  CHECK(resident_kibibytes() < before + 64 * 1024);
  CHECK_THROWS_AS(read_idx(folder.at("missing")), InputError);
  CHECK_THROWS_AS(read_idx(folder.at(".")), InputError);
  CHECK(read_idx(folder.write("good", header + "abcd")).elements() == 4);
  CHECK(read_idx(folder.write("good.gz", gzip(header + "abcd"))).elements() == 4);
}

TEST_CASE("no hostile safetensors file is read") {
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
           {"unknown dtype", safetensors("{\"a\":" + tensor("F12", "[2]", "[0,8]") + "}", eight)},
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
           {"a name that writes to the terminal",
            safetensors("{\"\\u001b[31m\\n\":" + tensor("F12", "[2]", "[0,8]") + "}", eight)},
       }) {
    check_refused(what, folder.write("weights.safetensors", bytes),
                  [](const fs::path& file) { read_safetensors(file); });
  }
  CHECK(read_safetensors(folder.write("good.safetensors", safetensors("{\"a\":" + good + "}", eight))).arrays.size() ==
        1);
}

TEST_CASE("no hostile NumPy archive is read") {
  const Folder folder;
  const std::string four(16, '\0');
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n";
  const auto refused = [&](const std::string& what, const std::vector<std::pair<std::string, std::string>>& members) {
    check_refused(what, zip_of(folder, members), [](const fs::path& file) { read_npz(file); });
  };
  check_refused("not a zip", folder.write("a.npz", "hello"), [](const fs::path& file) { read_npz(file); });
  check_refused("empty", folder.write("a.npz", ""), [](const fs::path& file) { read_npz(file); });
  refused("objects", {{"a.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", four)}});
  refused("big-endian", {{"a.npy", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (4,), }", four)}});
  refused("structured", {{"a.npy", npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (4,), }", four)}});
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
  refused("an absolute path", {{"/etc/a.npy", npy(good, four)}});

  const auto valid = zip_of(folder, {{"a.npy", npy(good, four)}});
  CHECK(read_npz(valid).size() == 1);
  const std::string bytes = read_file(valid, 1 << 20);
  check_refused("cut off", folder.write("cut.npz", bytes.substr(0, bytes.size() - 10)),
                [](const fs::path& file) { read_npz(file); });
  std::string lying = bytes;  // another size in the central directory than in the member
  const auto directory = lying.find("PK\1\2");
  lying[directory + 24] ^= 1;
  check_refused("two sizes", folder.write("lie.npz", lying), [](const fs::path& file) { read_npz(file); });
  std::string flipped = bytes;  // a bit of the packed data
  flipped[flipped.find("a.npy") + 8] ^= 4;
  check_refused("wrong checksum", folder.write("flip.npz", flipped), [](const fs::path& file) { read_npz(file); });
}

TEST_CASE("column-major arrays are read as what they hold") {
  const Folder folder;
  const float values[] = {1, 3, 5, 2, 4, 6};  // [[1, 2], [3, 4], [5, 6]] by columns
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  const auto arrays =
      read_npz(zip_of(folder, {{"a.npy", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", data)}}));
  float read[6];
  std::memcpy(read, arrays[0].second.bytes.data(), sizeof read);
  for (int i = 0; i < 6; ++i) CHECK(read[i] == static_cast<float>(i + 1));
}

TEST_CASE("arrays come back from safetensors and NumPy archives as they were written, with the same bytes each time") {
  const Folder folder;
  NamedArrays arrays = {{"weights", array_of({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6})},
                        {"labels", array_of({2}, std::vector<std::int64_t>{-1, 7})},
                        {"none", array_of({0, 4}, std::vector<float>{})},
                        {"one", array_of({}, std::vector<float>{9})}};
  write_npz(folder.at("a.npz"), arrays);
  write_npz(folder.at("b.npz"), arrays);
  write_safetensors(folder.at("a.safetensors"), {arrays, {{"note", "hello"}}});
  CHECK(read_file(folder.at("a.npz"), 1 << 20) == read_file(folder.at("b.npz"), 1 << 20));
  CHECK(read_safetensors(folder.at("a.safetensors")).metadata.at("note") == "hello");
  for (const auto& back : {read_npz(folder.at("a.npz")), read_safetensors(folder.at("a.safetensors")).arrays}) {
    for (const auto& [name, array] : arrays) {
      const Array* found = find(back, name);
      REQUIRE(found != nullptr);
      CHECK(found->shape == array.shape);
      CHECK(found->dtype == array.dtype);
      CHECK(found->bytes == array.bytes);
    }
  }
  CHECK(std::distance(fs::directory_iterator(folder.at("")), fs::directory_iterator()) == 3);  // no temporary is left
}

TEST_CASE("hashes and base64 are the published ones") {
  CHECK(sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2
  CHECK(base64("foobar") == "Zm9vYmFy");                                                          // RFC 4648
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("").empty());
}

}  // namespace afterimage
