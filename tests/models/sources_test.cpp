#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

#include "models/data/split.h"
#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;
using test::Folder;

const fs::path pictures = fs::path(TEST_DATA) / "images";

// The message that the data are refused with; empty where they are read.
std::string refusal(const std::string& data, const Preprocessing& preprocessing = {}) {
  try {
    load_images(data, preprocessing);
    return "";
  } catch (const InputError& error) {
    const std::string message = error.what();
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
}

bool says(const std::string& message, const std::string& what) {
  INFO(message);
  CHECK(message.find(what) != std::string::npos);
  return message.find(what) != std::string::npos;
}

void put(const Folder& folder, const std::string& name, const std::string& picture) {
  fs::create_directories(folder.at(name).parent_path());
  fs::copy_file(pictures / picture, folder.at(name));
}

Tensor expected(const std::string& file, const std::string& name) {
  const NamedArrays arrays = read_npz(pictures / file);
  return to_tensor(*find(arrays, name)).to(at::kFloat).div_(255);
}

std::vector<std::int64_t> labels_of(const LabelledImages& images) {
  const Tensor labels = images.labels.contiguous();
  return {labels.data_ptr<std::int64_t>(), labels.data_ptr<std::int64_t>() + labels.numel()};
}

bool has_note(const LabelledImages& images, const std::string& what) {
  for (const auto& note : images.notes) {
    CHECK(std::all_of(note.begin(), note.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
    if (note.find(what) != std::string::npos) return true;
  }
  return false;
}

// `count` lines, each as `line` makes it of its number.
std::string lines_of(int count, const std::function<std::string(int)>& line) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line(i) + "\n";
  return text;
}

// Eight whole numbers that look like pixels, the first and last always 0 as at the border of a picture.
std::string pixels(int i) {
  std::string text = "0";
  for (int k = 1; k < 7; ++k) text += "," + std::to_string((i * i * 31 + k * 57 + i * k) % 256);
  return text + ",0";
}

std::string cifar_records(std::int64_t label_bytes, const std::vector<int>& labels) {
  std::string bytes;
  for (const int label : labels) {
    bytes += std::string(static_cast<std::size_t>(label_bytes - 1), '\1') + static_cast<char>(label);
    for (int i = 0; i < 3072; ++i) bytes += static_cast<char>((i * 7 + label) % 256);
  }
  return bytes;
}

}  // namespace

TEST_CASE("a folder's classes are its sub-folders with files by name, and its files are in the order of their names") {
  const Folder folder;
  put(folder, "dog/b.jpg", "full.jpg");
  put(folder, "dog/a.PNG", "interlaced.png");
  put(folder, "cat/only.png", "colour.png");
  put(folder, "ant/.hidden", "grey.png");
  folder.write("ant/.DS_Store", "x");
  const LabelledImages images = load_images("folder:" + folder.at("").string());
  CHECK(images.images.sizes() == at::IntArrayRef({3, 13, 18, 3}));
  CHECK(labels_of(images) == std::vector<std::int64_t>{0, 1, 1});
  CHECK(images.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(has_note(images, "2 classes, numbered in the order of their names: 0 \"cat\" (1), 1 \"dog\" (2)"));
  CHECK(has_note(images, "\"ant\""));
  CHECK(at::equal(images.images[0], expected("expected.npz", "colour.png")));
  CHECK(at::equal(images.images[1], expected("expected.npz", "interlaced.png")));
  CHECK(at::equal(images.images[2], expected("expected.npz", "full.jpg")));
}

TEST_CASE("a folder whose sub-folders are all numbers has these as classes, and grey pictures have no channels") {
  const Folder folder;
  put(folder, "10/a.png", "grey.png");
  put(folder, "9/a.png", "bits.png");
  const LabelledImages images = load_images("folder:" + folder.at("").string());
  CHECK(images.images.sizes() == at::IntArrayRef({2, 13, 18}));
  CHECK(labels_of(images) == std::vector<std::int64_t>{10, 9});
  CHECK(at::equal(images.images[1], expected("expected.npz", "bits.png")));
  CHECK(has_note(images, "2 classes: 9 (1), 10 (1)"));
  CHECK(has_note(images, "2 samples of 13 x 18 = 234 inputs"));
}

TEST_CASE("an empty folder and what archives leave take no class number, and are named") {
  const Folder folder;
  put(folder, "round/a.png", "grey.png");
  put(folder, "square/a.png", "grey.png");
  put(folder, "__MACOSX/round/._a.png", "grey.png");
  fs::create_directories(folder.at("blue"));
  const LabelledImages images = load_images("folder:" + folder.at("").string());
  CHECK(labels_of(images) == std::vector<std::int64_t>{0, 1});
  CHECK(has_note(images, "__MACOSX"));
  CHECK(has_note(images, "\"blue\""));
  // Names that would not be numbers play no part either.
  const Folder numbered;
  put(numbered, "3/a.png", "grey.png");
  put(numbered, "8/a.png", "grey.png");
  fs::create_directories(numbered.at("other"));
  CHECK(labels_of(load_images("folder:" + numbered.at("").string())) == std::vector<std::int64_t>{3, 8});
}

TEST_CASE("a folder that is no data set is refused with a remedy") {
  const auto with = [](const std::function<void(const Folder&)>& arrange) {
    const Folder folder;
    put(folder, "a/1.png", "colour.png");
    arrange(folder);
    return refusal("folder:" + folder.at("").string());
  };
  CHECK(with([](const Folder&) {}).empty());
  CHECK(says(with([](const Folder& folder) { put(folder, "b/1.png", "grey.png"); }), "--grey"));
  CHECK(says(with([](const Folder& folder) { folder.write("a/notes.txt", "x"); }), "notes.txt"));
  CHECK(says(with([](const Folder& folder) { put(folder, "2.png", "colour.png"); }), "not in the folder of a class"));
  CHECK(says(with([](const Folder& folder) { put(folder, "a/b/1.png", "colour.png"); }), "a/b: "));
  CHECK(says(with([](const Folder& folder) { fs::create_symlink("/etc/hostname", folder.at("a/2.png")); }), "link"));
  CHECK(says(with([](const Folder& folder) { fs::create_symlink("/tmp", folder.at("b")); }), "link"));
  CHECK(says(with([](const Folder& folder) { fs::create_symlink("nowhere.png", folder.at("a/2.png")); }), "link"));
  CHECK(with([](const Folder& folder) { fs::create_symlink("1.png", folder.at("a/2.png")); }).empty());
  const Folder empty;
  CHECK(says(refusal("folder:" + empty.at("").string()), "sub-folder"));
  CHECK(says(refusal("folder:" + empty.at("none").string()), "no such folder"));
}

TEST_CASE("pictures are made grey and resized as Pillow does it, and differing sizes then make one data set") {
  const Folder folder;
  put(folder, "a/1.png", "colour.png");
  const std::string data = "folder:" + folder.at("").string();
  const Tensor grey = load_images(data, {true, std::nullopt}).images[0];
  CHECK((grey - expected("prepared.npz", "grey")).abs().max().item<float>() < 1.01F / 255);
  for (const auto& [name, size] : {std::pair{"smaller", std::pair{5, 7}}, std::pair{"larger", std::pair{31, 40}}}) {
    CAPTURE(name);
    const Tensor got = load_images(data, {false, size}).images[0], wanted = expected("prepared.npz", name);
    REQUIRE(got.sizes() == wanted.sizes());
    // At the border Pillow averages fewer pixels; here the outermost ones are repeated.
    const auto inner = [](const Tensor& picture) { return picture.slice(0, 1, -1).slice(1, 1, -1); };
    CHECK((inner(got) - inner(wanted)).abs().max().item<float>() < 1.01F / 255);
    CHECK((got - wanted).abs().max().item<float>() < 0.05F);
    CHECK(at::equal(got.mul(255).round().div(255), got));
  }
  fs::copy_file(fs::path(TEST_DATA) / "contact-sheet.png", folder.at("a/2.png"));
  CHECK(says(refusal(data), "--resize"));
  CHECK(load_images(data, {true, std::pair{8, 9}}).images.sizes() == at::IntArrayRef({2, 8, 9}));
}

TEST_CASE("preprocessing leaves grey pictures of the right size as they are, and refuses data without pixels") {
  const Folder folder;
  const auto write = [&](const Tensor& images) {
    write_npz(folder.at("data.npz"), {{"images", to_array(images)}, {"labels", to_array(at::zeros({2}, at::kLong))}});
    return "npz:" + folder.at("data.npz").string();
  };
  const Tensor images = at::rand({2, 4, 6});
  CHECK(at::equal(load_images(write(images), {true, std::pair{4, 6}}).images, images));
  CHECK(says(refusal(write(at::rand({2, 24})), {false, std::pair{4, 6}}), "--resize"));
  CHECK(says(refusal(write(at::rand({2, 24})), {true, std::nullopt}), "--grey"));
  CHECK(says(refusal(write(at::rand({2, 3, 4, 2})), {true, std::nullopt}), "--grey"));
}

TEST_CASE("pictures of more than 8 GiB as float32 are refused before the memory is taken") {
  constexpr std::int64_t count = 2049;  // of 4 MiB each
  const Folder folder;
  put(folder, "pictures/a/0.png", "grey.png");
  for (std::int64_t i = 1; i < count; ++i) {
    fs::create_symlink("0.png", folder.at("pictures/a/" + std::to_string(i) + ".png"));
  }
  write_npz(folder.at("data.npz"), {{"images", to_array(at::zeros({count, 2, 2}, at::kByte))},
                                    {"labels", to_array(at::zeros({count}, at::kLong))}});
  for (const std::string& data :
       {"folder:" + folder.at("pictures").string(), "npz:" + folder.at("data.npz").string()}) {
    CAPTURE(data);
    const std::string message = refusal(data, {false, std::pair{1024, 1024}});
    CHECK(says(message, data.substr(data.find(':') + 1) + ": 2049 pictures of 1024 x 1024 pixels"));
    CHECK(says(message, "--resize"));
    CHECK(refusal(data, {false, std::pair{4, 4}}).empty());
  }
}

TEST_CASE("CIFAR's records are red, green and blue planes after their label, training before test images") {
  const Folder folder;
  for (int i = 1; i <= 5; ++i) folder.write("data_batch_" + std::to_string(i) + ".bin", cifar_records(1, {i, i + 1}));
  folder.write("test_batch.bin", cifar_records(1, {9}));
  const std::string data = "cifar10:" + folder.at("").string();
  const LabelledImages images = load_images(data);
  CHECK(images.images.sizes() == at::IntArrayRef({11, 32, 32, 3}));
  CHECK(labels_of(images) == std::vector<std::int64_t>{1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 9});
  // Row 5, column 7 of the blue plane of the last image, by the formula that wrote it.
  CHECK(images.images[10][5][7][2].item<float>() == Approx(((2 * 1024 + 5 * 32 + 7) * 7 + 9) % 256 / 255.0));
  CHECK(images.files.size() == 6);

  folder.write("data_batch_3.bin", cifar_records(1, {1}).substr(1));
  CHECK(says(refusal(data), "no multiple"));
  folder.write("data_batch_3.bin", "");
  CHECK(says(refusal(data), "no multiple"));
  folder.write("data_batch_3.bin", cifar_records(1, {10}));
  CHECK(says(refusal(data), "label 10"));
  fs::remove(folder.at("data_batch_3.bin"));
  CHECK(says(refusal(data), "data_batch_3.bin: no such file"));

  folder.write("train.bin", cifar_records(2, {99, 3}));
  folder.write("test.bin", cifar_records(2, {50}));
  CHECK(labels_of(load_images("cifar100:" + folder.at("").string())) == std::vector<std::int64_t>{99, 3, 50});
}

TEST_CASE("a CSV table has its label where the header says, and its classes by number or by name") {
  const Folder folder;
  const auto load = [&](const std::string& text) { return load_images("csv:" + folder.write("t.csv", text).string()); };
  const Tensor wanted = at::tensor({0.5F, 0.25F, 1.0F, 0.0F}).reshape({2, 2});
  for (const char* text : {"a,b,class\r\n0.5,.25,3\r\n1,0e-90,7\r\n", "\xef\xbb\xbfx,label,y\n.5,3,2.5e-1\n\n1,7,0",
                           "\"x, y\",\"label\",z\n\" 0.5\" ,\"3\", 0.25\n+1,7,0\n", "1,2,label\n0.5,0.25,3\n1,0,7\n",
                           "Target,a,b\n3,0.5,0.25\n7,1,0\n", "0,1,LABELS\n0.5,0.25,3.0\n1,0,7.0\n",
                           "y,a,b\n3,0.5,0.25\n7,1,0\n", "a,b,Y\n0.5,0.25,3\n1,0,7\n"}) {
    CAPTURE(text);
    const LabelledImages images = load(text);
    CHECK(at::equal(images.images, wanted));
    CHECK(labels_of(images) == std::vector<std::int64_t>{3, 7});
    CHECK(has_note(images, "the first line is a header"));
    CHECK(has_note(images, "as the header says"));
  }
  CHECK(load("a,,class\n0.5,0.25,3\n").size() == 1);
  CHECK(labels_of(load("0.5,virginica\n0,setosa\n1,\"virginica\"\n")) == std::vector<std::int64_t>{1, 0, 1});
  CHECK(at::equal(load("label,p0,p1\n5,0,255\n0,51,0\n").images, at::tensor({0.0F, 1.0F, 0.2F, 0.0F}).reshape({2, 2})));
  const LabelledImages signs = load("a,label\n0.5,-1\n0.25,1\n");
  CHECK(labels_of(signs) == std::vector<std::int64_t>{0, 1});
  CHECK(has_note(signs, "0 \"-1\" (1), 1 \"1\" (1)"));
}

TEST_CASE("two columns with names of labels, labels that are no classes and a header among samples are refused") {
  const Folder folder;
  const auto refused = [&](const std::string& text) { return refusal("csv:" + folder.write("t.csv", text).string()); };
  CHECK(
      says(refused("class,a,target\n1,0.5,0\n"), "two columns that may be the label, column 1 \"class\" and column 3"));
  CHECK(says(refused("a,target\n0.5,2.5\n0.25,1\n"), "has the label 2.5"));
  CHECK(says(refused("0,1,2,y\n0,5,6,1\n8,5,6,0\n7,5,6,1\n3,5,6,0\n"), "line 1 has the label \"y\""));
  CHECK(says(refused("0,target\n0.5,decoy\n0.25,target\n"), "line 3 has the label \"target\""));
  // A letter that is a class of samples is no header.
  const auto file = folder.write("t.csv", "0.5,y\n0.2,n\n0.1,y\n0.3,n\n");
  CHECK(labels_of(load_images("csv:" + file.string())) == std::vector<std::int64_t>{1, 0, 1, 0});
}

TEST_CASE("without a header that says, the label is first or last only where the other column cannot be it") {
  const Folder folder;
  const auto digit = [](int i) { return std::to_string(i % 10); };
  const auto fraction = [](int i) { return "0." + std::to_string(1 + i % 7); };
  const auto data = [&](const std::function<std::string(int)>& line, const std::string& header = "") {
    return "csv:" + folder.write("t.csv", header + lines_of(40, line)).string();
  };
  const auto has_digits = [&](const std::string& source) {
    const LabelledImages images = load_images(source);
    CHECK(has_note(images, "as the values of the first and last column say"));
    CHECK(images.class_names.size() == 10);
    return at::equal(images.labels, at::arange(40, at::kLong).remainder(10));
  };
  const LabelledImages copy = load_images(data([&](int i) { return digit(i) + "," + pixels(i); }));
  CHECK(at::equal(copy.labels, at::arange(40, at::kLong).remainder(10)));
  CHECK(copy.images.sizes() == at::IntArrayRef({40, 8}));
  CHECK(has_note(copy, "the label is column 1,"));
  CHECK(has_note(copy, "divided by 255"));
  CHECK(has_digits(data([&](int i) { return pixels(i) + "," + digit(i); })));
  CHECK(has_digits(data([&](int i) { return fraction(i) + ",0.5," + digit(i); })));
  CHECK(has_digits(data([&](int i) { return digit(i) + ",0.5," + fraction(i); }, "kind,a,b\n")));
  CHECK(has_digits(data([&](int i) { return std::to_string((i * 7 + 3) % 40) + ",1," + digit(i); })));
  CHECK(has_note(load_images(data([&](int i) { return fraction(i) + ",0.5,a" + digit(i); }, "a,b,species\n")),
                 "the label is column 3 \"species\""));
  // What pandas writes for columns without names is a header, and a mark of what is missing is no class.
  const LabelledImages numbered = load_images(data([&](int i) { return "0.5,0.25,0.75," + digit(i); }, "0,1,2,3\n"));
  CHECK(numbered.size() == 40);
  CHECK(has_note(numbered, "the first line is a header"));
  CHECK(says(refusal(data([&](int i) { return fraction(i) + ",0.5," + (i == 7 ? "NA" : digit(i)); }, "a,b,label\n")),
             "the label \"NA\" among numbers"));
  for (const auto& line : std::vector<std::function<std::string(int)>>{
           [&](int i) { return digit(i) + ",0.5," + std::to_string(i % 2); },           // either
           [&](int i) { return fraction(i) + ",0.5," + fraction(i + 1); },              // neither
           [&](int i) { return fraction(i) + ",0.5," + std::to_string(40 - i); },       // each its own class
           [&](int i) { return digit(i) + ",0.5," + std::to_string(i < 30 ? i : 5); },  // many values
       }) {
    const std::string message = refusal(data(line));
    CHECK(says(message, "which column is the label is not certain"));
    CHECK(says(message, "label=3"));
    CHECK(refusal(data(line) + ",label=1").find("certain") == std::string::npos);
  }
}

TEST_CASE("columns of a CSV table are chosen by name or number, and others that are named are no columns") {
  const Folder folder;
  const std::string file = folder.write("t.csv", "id,a,Kind,b\n7,0.5,3,0.25\n9,1,7,0\n").string(), data = "csv:" + file;
  const Tensor wanted = at::tensor({0.5F, 0.25F, 1.0F, 0.0F}).reshape({2, 2});
  for (const char* columns : {",label=Kind,drop=id", ",drop=id,label=kind", ",label=3,drop=1", ",label=3"}) {
    CAPTURE(columns);
    const LabelledImages images = load_images(data + columns);
    CHECK(at::equal(images.images, wanted));
    CHECK(labels_of(images) == std::vector<std::int64_t>{3, 7});
    CHECK(images.files == std::vector<std::string>{file});
    CHECK(has_note(images, "the label is column 3 \"Kind\", as asked for"));
    CHECK(has_note(images, "left out: column 1 \"id\""));
  }
  CHECK(load_images(data + ",label=Kind,drop=1/b").images.sizes() == at::IntArrayRef({2, 1}));
  CHECK(labels_of(load_images("csv:" + folder.write("n.csv", "0.5,0.25,3\n1,0,7\n").string() + ",label=-1")) ==
        std::vector<std::int64_t>{3, 7});
  CHECK(labels_of(load_images("csv:" + folder.write("y.csv", "0,1,2,y\n0,5,6,1\n8,5,6,0\n").string() + ",label=y")) ==
        std::vector<std::int64_t>{1, 0});
  for (const char* columns : {",label=c", ",label=0", ",label=5", ",label=-2", ",label=", ",lable=3",
                              ",label=3,label=1", ",label=3,drop=Kind", ",label=3,drop=", ",label=3,drop=1//2",
                              ",label=3,drop=c", ",label=3,drop=1/2/3", ",label=3,drop=1/2/4"}) {
    CAPTURE(columns);
    CHECK_THROWS_AS(load_images(data + columns), UsageError);
  }
  // A file of that name comes first.
  const auto named = folder.write("t.csv,label=1", "a,label\n0.5,8\n");
  CHECK(labels_of(load_images("csv:" + named.string())) == std::vector<std::int64_t>{8});
  CHECK(labels_of(load_images("csv:" + named.string() + ",label=-1")) == std::vector<std::int64_t>{8});
  CHECK(says(refusal("csv:" + (folder.at("none.csv").string()) + ",label=1"), "none.csv: "));
}

TEST_CASE("a column of row numbers is left out of a CSV table and named, and other first columns are values") {
  const Folder folder;
  const auto load = [&](const std::string& header, const std::function<int(int)>& first) {
    const auto text = header + lines_of(20, [&](int i) {
                        return std::to_string(first(i)) + "," + pixels(i) + "," + std::to_string(i % 5);
                      });
    return load_images("csv:" + folder.write("t.csv", text).string());
  };
  const std::string names = ",a,b,c,d,e,f,g,h,label\n";
  const auto from_one = [](int i) { return i + 1; };
  const auto shuffled = [](int i) { return (i * 7 + 5) % 20; };
  for (const char* header : {"", "id", "Index", "Unnamed: 0"}) {
    CAPTURE(header);
    for (const auto& images : {load(header + names, from_one), load(header + names, shuffled)}) {
      CHECK(images.images.sizes() == at::IntArrayRef({20, 8}));
      CHECK(has_note(images, "left out: column 1"));
      CHECK(has_note(images, "a row number"));
    }
  }
  const LabelledImages bare = load("", [](int i) { return i; });
  CHECK(bare.images.sizes() == at::IntArrayRef({20, 8}));
  CHECK(at::equal(bare.labels, at::arange(20, at::kLong).remainder(5)));
  CHECK(has_note(bare, "left out: column 1, a row number"));
  CHECK(load("p" + names, from_one).images.sizes() == at::IntArrayRef({20, 9}));
  CHECK(load("id" + names, [](int i) { return i / 2; }).images.sizes() == at::IntArrayRef({20, 9}));
}

TEST_CASE("a CSV table with gaps, uneven lines or values out of range is refused, with its line") {
  const Folder folder;
  const auto refused = [&](const std::string& text) { return refusal("csv:" + folder.write("t.csv", text).string()); };
  CHECK(says(refused(""), "no lines"));
  CHECK(says(refused("a,b,label\n"), "no lines"));
  CHECK(says(refused("0.5,1\n0.5\n"), "line 2 has 1 fields where the first has 2"));
  CHECK(says(refused("0.5,1\n,1\n"), "line 2 has \"\""));
  CHECK(says(refused("0.5,1\n0.5,\n"), "line 2 has no label"));
  CHECK(says(refused("0.5,,1\n0.5,0.5,1\n"), "line 1 has \"\""));  // no header: one would be left out
  CHECK(says(refused(",1\n0.5,1\n"), "line 1 has \"\""));
  CHECK(says(refused("0.5,x,1\n0.5,0.5,1\n"), "line 1 has \"x\""));
  CHECK(says(refused("1e999,1\n0.5,1\n"), "line 1 has \"1e999\""));
  CHECK(says(refused("0.5,1\nnan,1\n"), "line 2"));
  CHECK(says(refused("0.5,1\n+-0.5,1\n"), "line 2"));
  CHECK(says(refused("0.5,1\n1e999,1\n"), "line 2"));
  CHECK(says(refused("0.5,1\n0.5 0.5,1\n"), "line 2"));
  CHECK(says(refused("0.5,1\n\"0.5,1\n"), "close the quote"));
  CHECK(says(refused("0.5,1\n\"0.5\"0,1\n"), "line 2"));
  CHECK(says(refused("0.5\n"), "separated by commas"));
  CHECK(says(refused("label,label,x\n1,1,1\n"), "two columns"));
  CHECK(says(refused("-0.5,1\n1.5,1\n"), "(x - min) / (max - min)"));
  CHECK(says(refused("0.5,1\n255,1\n"), "(x - min) / (max - min)"));
  CHECK(says(refused("0.5,65536\n"), "classes go up to 65535"));
  CHECK(says(refused(std::string("0.5,\0\x1b[31m,1\n0.5,\0,1\n", 21)), "\\x"));
}

TEST_CASE("a folder's digest changes with a file's bytes, name or place, and not with hidden files") {
  const Folder folder;
  put(folder, "data/a/1.png", "colour.png");
  put(folder, "data/a/2.png", "grey.png");
  const FileDigest first = digest_of(folder.at("data"));
  CHECK(first.bytes == fs::file_size(pictures / "colour.png") + fs::file_size(pictures / "grey.png"));
  CHECK(first.sha256 == sha256_of(digest_of(pictures / "colour.png").sha256 + "  a/1.png\n" +
                                  digest_of(pictures / "grey.png").sha256 + "  a/2.png\n"));
  folder.write("data/a/.hidden", "x");
  CHECK(digest_of(folder.at("data")).sha256 == first.sha256);
  fs::rename(folder.at("data/a/2.png"), folder.at("data/a/3.png"));
  CHECK(digest_of(folder.at("data")).sha256 != first.sha256);
}

TEST_CASE("a normalisation has one number for all pixels, for each channel or for each pixel") {
  const std::vector<std::int64_t> shape = {2, 1, 3};
  CHECK(at::equal(per_pixel(at::tensor({0.5F}), shape), at::full({6}, 0.5F)));
  CHECK(at::equal(per_pixel(at::tensor({1.0F, 2.0F, 3.0F}), shape), at::tensor({1.0F, 2.0F, 3.0F, 1.0F, 2.0F, 3.0F})));
  CHECK(at::equal(per_pixel(at::arange(6), shape), at::arange(6).to(at::kFloat)));
  CHECK_FALSE(per_pixel(at::arange(2), shape).defined());
  CHECK_FALSE(per_pixel(at::arange(3), {2, 3}).defined());
  CHECK(parse_size("28x32") == std::pair<std::int64_t, std::int64_t>{28, 32});
  for (const char* text : {"", "28", "28x", "x28", "0x1", "28x-1", "28x28x3", "99999x1"}) {
    CHECK_THROWS_AS(parse_size(text), UsageError);
  }
}

}  // namespace afterimage
