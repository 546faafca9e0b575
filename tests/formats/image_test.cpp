#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "formats/folder.h"
#include "formats/hostile.h"
#include "formats/png.h"
#include "models/formats/image_file.h"
#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

using test::png;
using test::png_chunk;

const fs::path pictures = fs::path(TEST_DATA) / "images";

std::string bytes_in_picture(const std::string& name) { return read_file(pictures / name, 1 << 20); }

// What the refusal says beside the file's name; empty where there is none.
std::string refusal(const fs::path& file) {
  try {
    read_image(file);
    return "";
  } catch (const InputError& error) {
    const std::string message = error.what();
    CHECK(message.starts_with(file.string() + ": "));
    CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
    return message.substr(file.string().size() + 2);
  }
}

// Where the marker's segment of a JPEG file begins.
std::size_t segment(const std::string& jpeg, unsigned char marker) {
  return jpeg.find(std::string{'\xff', static_cast<char>(marker)});
}

std::string replaced(std::string bytes, std::size_t at, const std::string& with) {
  return bytes.replace(at, with.size(), with);
}

}  // namespace

TEST_CASE("pictures of every kind have the pixels that Pillow reads from them") {
  const NamedArrays expected = read_npz(pictures / "expected.npz");
  REQUIRE(expected.size() == 12);
  for (const auto& [name, wanted] : expected) {
    CAPTURE(name);
    const Array read = read_image(pictures / name);
    CHECK(read.dtype == DType::u8);
    CHECK(read.shape == wanted.shape);
    CHECK(read.bytes == wanted.bytes);
  }
}

TEST_CASE("a picture that is transparent, for print, or under another name is refused with a remedy") {
  const test::Folder folder;
  for (const char* name : {"transparent.png", "hole.png"})
    CHECK(refusal(pictures / name).find("flattened") != std::string::npos);
  CHECK(refusal(pictures / "print.jpg").find("grey or RGB") != std::string::npos);
  CHECK(refusal(folder.write("a.jpg", bytes_in_picture("grey.png"))).find("rename") != std::string::npos);
  CHECK(refusal(folder.write("a.png", bytes_in_picture("grey.jpg"))).find("rename") != std::string::npos);
  CHECK(refusal(folder.write("b.png", "GIF89a")).find("convert it") != std::string::npos);
  CHECK(refusal(folder.write("c.png", "")).find("convert it") != std::string::npos);
}

TEST_CASE("a picture that is cut off anywhere is refused") {
  const test::Folder folder;
  for (const char* name : {"colour.png", "interlaced.png", "colour.jpg", "progressive.jpeg"}) {
    const std::string bytes = bytes_in_picture(name);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(name, size);
      CHECK_FALSE(refusal(folder.write(name, bytes.substr(0, size))).empty());
    }
  }
}

TEST_CASE("a PNG file with any byte changed is refused") {
  const test::Folder folder;
  for (const char* name : {"colour.png", "palette.png", "text.png"}) {
    const std::string bytes = bytes_in_picture(name);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      CAPTURE(name, at);
      CHECK_FALSE(refusal(folder.write(name, replaced(bytes, at, {static_cast<char>(~bytes[at])}))).empty());
    }
  }
}

TEST_CASE("a JPEG file with any byte changed is read to the same size or refused, and never crashes") {
  const test::Folder folder;
  for (const char* name : {"grey.jpg", "progressive.jpeg"}) {
    const std::string bytes = bytes_in_picture(name);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (const int flip : {0x01, 0xff}) {
        const auto file = folder.write(name, replaced(bytes, at, {static_cast<char>(bytes[at] ^ flip)}));
        CAPTURE(name, at, flip);
        if (refusal(file).empty()) CHECK(read_image(file).elements() > 0);
      }
    }
  }
}

TEST_CASE("a picture that promises more than its bytes hold is refused before memory is taken for it") {
  const test::Folder folder;
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    return refusal(folder.write(name, bytes));
  };
  CHECK(refused("a.png", png(16000, 4000, "x")).find("can hold") != std::string::npos);
  CHECK(refused("a.png", png(16385, 1, "x")).find("at most") != std::string::npos);
  CHECK(refused("a.png", png(0xffffffff, 0xffffffff, "x")).find("at most") != std::string::npos);
  CHECK(refused("a.png", png(0, 4, "")).find("no pixels") != std::string::npos);
  CHECK(refused("a.png", png(4, 0, "")).find("no pixels") != std::string::npos);
  CHECK(refused("a.png", png(1, 1, std::string(2, '\0'), 8, 5)).find("kind of colour") != std::string::npos);
  CHECK(refused("a.png", png(1, 1, std::string(2, '\0'), 3, 0)).find("corrupt") != std::string::npos);
  const std::string jpeg = bytes_in_picture("grey.jpg");
  const auto frame = segment(jpeg, 0xc0) + 5;
  CHECK(refused("a.jpg", replaced(jpeg, frame, std::string("\x3f\xff\x0f\xff", 4))).find("can hold") !=
        std::string::npos);
  CHECK(refused("a.jpg", replaced(jpeg, frame, std::string("\x40\x01\x00\x01", 4))).find("at most") !=
        std::string::npos);
  CHECK_FALSE(refused("a.jpg", replaced(jpeg, frame, std::string(4, '\0'))).empty());
}

TEST_CASE("image data that inflates to more than the picture is refused without inflating all of it") {
  const test::Folder folder;
  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(refusal(folder.write("a.png", png(1, 1, std::string(200 << 20, '\0')))).empty());
  CHECK_FALSE(refusal(folder.write("a.png", png(1, 1, std::string(3, '\0')))).empty());
  CHECK_FALSE(refusal(folder.write("a.png", png(2, 2, std::string(5, '\0')))).empty());
  CHECK(refusal(folder.write("a.png", png(2, 2, std::string(6, '\0')))).empty());
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("a hostile picture is refused before it takes more memory than its file and 64 MiB") {
  const test::Folder folder;
  const auto refused = [&](const std::string& what, const std::string& name, const std::string& bytes) {
    test::check_refused(what, folder.write(name, bytes), [](const fs::path& path) { read_image(path); });
  };
  // 5000 x 5000 in four channels: 100 MB of rows, all zeros, in 100 KB.
  constexpr std::uint32_t side = 5000;
  const std::string rows((1 + 4 * side) * std::size_t{side}, '\0');
  const std::string whole = png(side, side, rows, 8, 6);
  refused("its data end early", "a.png", png(side, side, rows.substr(1), 8, 6));
  refused("cut off", "a.png", whole.substr(0, whole.size() - 12));
  refused("more after it", "a.png", whole + "x");
  // The passes of an interlaced picture have rows of their own: fewer zeros than it needs.
  refused("its data end early, interlaced", "a.png", png(side, side, rows.substr(side), 8, 6, "", 1));
  refused("16 bits deep, of data that end early", "a.png",
          png(side, side / 2, rows.substr(0, rows.size() - side), 16, 6));
  refused("filters that are none", "a.png", png(4096, 4096, std::string((1 + 3 * 4096UL) * 4096, '\7'), 8, 2));
  const std::string bomb = test::deflated(std::string(100 << 20, 'x'), 15);
  refused("a text that is a bomb before a picture that is none", "a.png",
          png(1, 1, "", 8, 0, png_chunk("zTXt", std::string("a\0\0", 3) + bomb)));
  refused("a profile that is a bomb before a picture that is none", "a.png",
          png(1, 1, "", 8, 0, png_chunk("iCCP", std::string("a\0\0", 3) + bomb)));
  // JPEG files of 64 million pixels, padded so that they could hold them, with the data of a few.
  const auto padded = [](std::string jpeg, const std::string& size, unsigned char frame_marker, std::size_t padding) {
    jpeg = replaced(jpeg, segment(jpeg, frame_marker) + 5, size);
    const std::string comment = std::string("\xff\xfe\xff\xff", 4) + std::string(65533, 'x');
    std::string pad;
    for (std::size_t i = 0; i < padding; ++i) pad += comment;
    return jpeg.insert(2, pad);
  };
  const std::string size("\x20\x00\x20\x00", 4);  // 8192 x 8192
  refused("a JPEG file whose data end early", "a.jpg", padded(bytes_in_picture("full.jpg"), size, 0xc0, 2));
  refused("a grey JPEG file whose data end early", "a.jpg", padded(bytes_in_picture("grey.jpg"), size, 0xc0, 2));
  for (const std::size_t padding : {2, 16, 200}) {
    refused("a progressive JPEG file whose data end early", "a.jpeg",
            padded(bytes_in_picture("progressive.jpeg"), size, 0xc2, padding));
  }
}

TEST_CASE("an unknown critical chunk, a missing palette and bytes after a PNG file's end are refused") {
  const test::Folder folder;
  const std::string palette = png_chunk("PLTE", std::string("\1\2\3\4\5\6", 6));
  CHECK(refusal(folder.write("a.png", png(1, 1, std::string("\0\1", 2), 8, 3, palette))).empty());
  // Colours that the palette lacks are black, as for other readers.
  CHECK(read_image(folder.write("a.png", png(1, 1, std::string("\0\2", 2), 8, 3, palette))).bytes ==
        std::vector<std::byte>(3));
  CHECK_FALSE(refusal(folder.write("a.png", png(1, 1, std::string("\0\0", 2), 8, 3))).empty());
  CHECK_FALSE(
      refusal(folder.write("a.png", png(1, 1, std::string("\0\1", 2), 8, 0, png_chunk("CgBI", "1234")))).empty());
  CHECK(refusal(folder.write("a.png", png(1, 1, std::string("\0\1", 2)) + "more")).find("after the end") !=
        std::string::npos);
  CHECK(refusal(folder.write("a.jpg", bytes_in_picture("grey.jpg") + "more")).empty());
}

TEST_CASE("JPEG tables that no code can have are refused") {
  const test::Folder folder;
  const std::string jpeg = bytes_in_picture("grey.jpg");
  const auto huffman = segment(jpeg, 0xc4) + 4;
  // The table's number, how many codes there are of each length, or what they stand for.
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, huffman, "\x37"))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, huffman + 1, std::string(16, '\xff')))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, huffman + 1, "\x03"))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, huffman + 17, std::string(8, '\xff')))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, segment(jpeg, 0xdb) + 4, "\x45"))).empty());
}

}  // namespace afterimage
