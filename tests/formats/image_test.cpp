#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "models/formats/image_file.h"
#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "tests/folder.h"
#include "tests/formats/hostile.h"
#include "tests/formats/png.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

using test::big_endian;
using test::png;
using test::png_chunk;

const fs::path pictures = fs::path(TEST_DATA) / "images";

std::string bytes_in_picture(const std::string& name) { return read_file(pictures / name, 1 << 20); }

// The message that the file is refused with; empty where it is read.
std::string refusal(const fs::path& file) {
  const std::string message = test::refusal_of(file, [](const fs::path& path) { read_image(path); });
  if (message == test::was_read) return "";
  test::check_message(message, file);
  return message;
}

// The pass of each pixel in a square of eight by eight (PNG specification, 8.2).
constexpr int passes[8][8] = {{1, 6, 4, 6, 2, 6, 4, 6}, {7, 7, 7, 7, 7, 7, 7, 7}, {5, 6, 5, 6, 5, 6, 5, 6},
                              {7, 7, 7, 7, 7, 7, 7, 7}, {3, 6, 4, 6, 3, 6, 4, 6}, {7, 7, 7, 7, 7, 7, 7, 7},
                              {5, 6, 5, 6, 5, 6, 5, 6}, {7, 7, 7, 7, 7, 7, 7, 7}};

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

TEST_CASE("a transparent or CMYK picture, or one under another name, is refused with a remedy") {
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

TEST_CASE("a picture that declares more pixels than its bytes can hold is refused before memory is taken for it") {
  const test::Folder folder;
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    return refusal(folder.write(name, bytes));
  };
  CHECK(refused("a.png", png(16000, 4000, "x")).find("can hold") != std::string::npos);
  CHECK(refused("a.png", png(16385, 1, "x")).find("at most") != std::string::npos);
  CHECK(refused("a.png", png(0xffffffff, 0xffffffff, "x")).find("at most") != std::string::npos);
  CHECK(refused("a.png", png(0, 4, "")).find("no pixels") != std::string::npos);
  CHECK(refused("a.png", png(4, 0, "")).find("no pixels") != std::string::npos);
  CHECK(refused("a.png", png(1, 1, std::string(2, '\0'), 8, 5)).find("invalid PNG colour type") != std::string::npos);
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

TEST_CASE("chunks of a PNG file that are out of order are refused") {
  const test::Folder folder;
  const std::string rows("\0\1", 2), packed = test::deflated(rows, 15), half = packed.substr(0, packed.size() / 2);
  const std::string header = big_endian(1) + big_endian(1) + std::string("\x08\x03\0\0\0", 5);
  const std::string ihdr = png_chunk("IHDR", header), plte = png_chunk("PLTE", "\1\2\3\4\5\6"),
                    text = png_chunk("tEXt", std::string("a\0b", 3)), iend = png_chunk("IEND", ""),
                    first = png_chunk("IDAT", half), second = png_chunk("IDAT", packed.substr(half.size())),
                    trns = png_chunk("tRNS", "\xff\xff");
  const auto read = [&](const std::string& chunks) {
    return refusal(folder.write("a.png", std::string(test::png_signature) + chunks));
  };
  CHECK(read(ihdr + text + plte + text + first + second + text + iend).empty());
  CHECK(read(ihdr + plte + trns + first + second + iend).empty());
  for (const std::string& chunks :
       {plte + ihdr + first + second + iend, ihdr + ihdr + plte + first + second + iend,
        ihdr + plte + plte + first + second + iend, ihdr + trns + plte + first + second + iend,
        ihdr + plte + first + text + second + iend, ihdr + first + second + plte + iend,
        ihdr + plte + first + second + trns + iend, ihdr + plte + first + second + ihdr + iend,
        ihdr + plte + first + second + png_chunk("IEND", "x"), ihdr + plte + first + second + text,
        ihdr + plte + first + second + png_chunk("IDAT", "x") + iend,
        ihdr + plte + png_chunk("x1Xx", "") + first + second + iend, ihdr + plte + iend}) {
    CAPTURE(chunks);
    CHECK_FALSE(read(chunks).empty());
  }
}

TEST_CASE("neither gamma, nor a colour profile, nor a background changes the pixels of a PNG file") {
  const test::Folder folder;
  const std::string linear = png_chunk("gAMA", big_endian(100'000)), steep = png_chunk("gAMA", big_endian(20'000)),
                    srgb = png_chunk("sRGB", std::string(1, '\0')), bits = png_chunk("sBIT", "\3"),
                    background = png_chunk("bKGD", std::string("\0\x80", 2)),
                    profile = png_chunk("iCCP", std::string("a\0\0", 3) + test::deflated("no profile", 15));
  const std::string row("\0\0\x40\x80\xc0\xff", 6), deep("\0\0\0\x40\x40\x80\x80\xc0\xc0\xff\xff", 11);
  for (const std::string& before : {std::string(), linear, steep, srgb, bits, background, profile}) {
    CAPTURE(before);
    for (const auto& bytes : {png(5, 1, row, 8, 0, before), png(5, 1, deep, 16, 0, before)}) {
      const Array read = read_image(folder.write("a.png", bytes));
      CHECK(std::memcmp(read.bytes.data(), row.data() + 1, 5) == 0);
    }
  }
}

TEST_CASE("an interlaced PNG file has the pixels of the same picture without interlacing, in 8 and 16 bits") {
  const test::Folder folder;
  constexpr std::uint32_t height = 11, width = 13;
  // Grey, RGB, grey with alpha, RGB with alpha: colour type and samples of a pixel.
  for (const auto& [kind, samples] : std::vector<std::pair<char, std::size_t>>{{0, 1}, {2, 3}, {4, 2}, {6, 4}}) {
    for (const std::size_t bytes : {1, 2}) {  // of a sample
      CAPTURE(int{kind}, bytes);
      const auto pixel = [&](std::uint32_t y, std::uint32_t x) {
        std::string text;
        for (std::size_t i = 0; i < samples * bytes; ++i) {
          const bool alpha = kind >= 4 && i / bytes + 1 == samples;
          text += static_cast<char>(alpha ? 255 : (y * 71 + x * 37 + i * 53) % 251);
        }
        return text;
      };
      std::string rows, interlaced;
      for (std::uint32_t y = 0; y < height; ++y) {
        rows += '\0';
        for (std::uint32_t x = 0; x < width; ++x) rows += pixel(y, x);
      }
      for (int pass = 1; pass <= 7; ++pass) {
        for (std::uint32_t y = 0; y < height; ++y) {
          std::string row;
          for (std::uint32_t x = 0; x < width; ++x) row += passes[y % 8][x % 8] == pass ? pixel(y, x) : "";
          if (!row.empty()) interlaced += '\0' + row;
        }
      }
      const auto depth = static_cast<char>(8 * bytes);
      const Array plain = read_image(folder.write("plain.png", png(width, height, rows, depth, kind)));
      const Array read = read_image(folder.write("passes.png", png(width, height, interlaced, depth, kind, "", 1)));
      CHECK(plain.shape == read.shape);
      CHECK(plain.bytes == read.bytes);
      // The first sample of the first pixels, 16 bits rounded to 8.
      for (std::uint32_t x = 0; x < 3; ++x) {
        const std::string text = pixel(0, x);
        const auto high = static_cast<unsigned char>(text[0]), low = static_cast<unsigned char>(text[bytes - 1]);
        const unsigned wanted = bytes == 1 ? high : static_cast<unsigned>(std::lround((256 * high + low) / 257.0));
        const std::size_t kept = kind == 2 || kind == 6 ? 3 : 1;
        CHECK(std::to_integer<unsigned>(read.bytes[x * kept]) == wanted);
      }
    }
  }
}

TEST_CASE("markers of a JPEG file that have no length are skipped") {
  const test::Folder folder;
  const std::string jpeg = bytes_in_picture("grey.jpg");
  const Array wanted = read_image(pictures / "grey.jpg");
  for (const char* marker : {"\xff\x01", "\xff\xd0"}) {
    const Array read = read_image(folder.write("a.jpg", jpeg.substr(0, 2) + marker + jpeg.substr(2)));
    CHECK(read.bytes == wanted.bytes);
  }
}

TEST_CASE("an interlaced PNG file of any size takes the rows of its passes, not a byte fewer or more") {
  const test::Folder folder;
  for (std::uint32_t height = 1; height <= 9; ++height) {
    for (std::uint32_t width = 1; width <= 9; ++width) {
      CAPTURE(height, width);
      std::size_t bytes = 0;
      for (int pass = 1; pass <= 7; ++pass) {
        for (std::uint32_t y = 0; y < height; ++y) {
          std::size_t pixels = 0;
          for (std::uint32_t x = 0; x < width; ++x) pixels += passes[y % 8][x % 8] == pass;
          bytes += pixels > 0 ? 1 + (4 * pixels + 7) / 8 : 0;
        }
      }
      const auto picture = [&](std::size_t size) {
        return folder.write("a.png", png(width, height, std::string(size, '\0'), 4, 0, "", 1));
      };
      CHECK(refusal(picture(bytes)).empty());
      CHECK_FALSE(refusal(picture(bytes - 1)).empty());
      CHECK_FALSE(refusal(picture(bytes + 1)).empty());
    }
  }
}

TEST_CASE("an invalid filter, and bytes after the compressed rows, are refused") {
  const test::Folder folder;
  for (const char filter : {'\5', '\x7f', '\xff'}) {
    const std::string rows = std::string("\0\1", 2) + std::string{filter, '\1'};
    CHECK(refusal(folder.write("a.png", png(1, 2, rows))).find("filter") != std::string::npos);
  }
  const std::string header = big_endian(1) + big_endian(1) + std::string("\x08\0\0\0\0", 5);
  const auto with_data = [&](const std::string& data) {
    return folder.write("a.png", std::string(test::png_signature) + png_chunk("IHDR", header) +
                                     png_chunk("IDAT", data) + png_chunk("IEND", ""));
  };
  const std::string packed = test::deflated(std::string("\0\1", 2), 15);
  CHECK(refusal(with_data(packed)).empty());
  CHECK_FALSE(refusal(with_data(packed + "x")).empty());
  CHECK_FALSE(refusal(with_data(packed.substr(0, packed.size() - 1))).empty());  // of the checksum
  CHECK_FALSE(refusal(with_data(packed.substr(0, packed.size() - 1) + "x")).empty());
}

TEST_CASE("a JPEG file with an inconsistent frame or first scan is refused") {
  const test::Folder folder;
  const std::string jpeg = bytes_in_picture("colour.jpg");
  const auto frame = segment(jpeg, 0xc0), scan = segment(jpeg, 0xda);
  const std::size_t frame_size = 2 + 17;  // three components
  const std::string again = jpeg.substr(frame, frame_size);
  CHECK_FALSE(refusal(folder.write("a.jpg", std::string(jpeg).insert(frame, again))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", std::string(jpeg).erase(frame, frame_size))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", std::string(jpeg).insert(frame, "x"))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, frame + 9, "\2"))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, scan + 2, std::string("\0\2", 2)))).empty());
  CHECK_FALSE(refusal(folder.write("a.jpg", replaced(jpeg, frame + 11, std::string(1, '\0')))).empty());  // sampling
  // Bytes of 255 may stand before a marker.
  CHECK(refusal(folder.write("a.jpg", std::string(jpeg).insert(frame, "\xff\xff"))).empty());
}

TEST_CASE("invalid JPEG tables are refused") {
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
