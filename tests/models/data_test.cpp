#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "models/compute.h"
#include "models/data/split.h"
#include "models/dense_layers.h"
#include "models/formats/npz.h"
#include "models/formats/pytorch.h"
#include "models/formats/safetensors.h"
#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "models/parameters.h"
#include "models/scripted_network.h"
#include "models/weights.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

using test::Folder;

const LabelledImages& fashion() {
  static const LabelledImages images = load_images("fashion-mnist");
  return images;
}

std::filesystem::path temporary(const std::string& name) {
  return std::filesystem::temp_directory_path() / ("afterimage-" + std::to_string(::getpid()) + "-" + name);
}

std::vector<std::int64_t> classes_in(const LabelledImages& images) {
  const Tensor labels = images.labels.contiguous();
  return {labels.data_ptr<std::int64_t>(), labels.data_ptr<std::int64_t>() + labels.numel()};
}

std::vector<float> floats(const Tensor& tensor) {
  const auto values = to_doubles(tensor);
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("Fashion-MNIST is 60000 images of 28 x 28 with ten equal classes") {
  CHECK(fashion().images.sizes() == at::IntArrayRef({60000, 28, 28}));
  CHECK(fashion().images.max().item<float>() == 1.0F);
  for (std::int64_t label = 0; label < 10; ++label)
    CHECK((fashion().labels == label).sum().item<std::int64_t>() == 6000);
}

TEST_CASE("each task gives the signs that are documented") {
  const Tensor labels = at::tensor({0, 1, 2, 3, 8}, at::kLong);
  CHECK(floats(Task::parse("odd-even").targets(labels, 1)) == std::vector<float>{-1, 1, -1, 1, -1});
  const Task pair = Task::parse("classes:3,8");
  CHECK(to_doubles(pair.rows(labels)) == std::vector<double>{3, 4});
  CHECK(floats(pair.targets(labels.index_select(0, pair.rows(labels)), 1)) == std::vector<float>{-1, 1});
  const Task groups = Task::parse("groups:2,3|0,1");
  CHECK(to_doubles(groups.rows(labels)) == std::vector<double>{0, 1, 2, 3});
  CHECK(floats(groups.targets(at::tensor({2, 0}, at::kLong), 1)) == std::vector<float>{-1, 1});
  CHECK(Task::parse("multiclass").outputs(labels) == 9);
  CHECK(floats(Task::parse("multiclass").targets(at::tensor({1}, at::kLong), 3)) == std::vector<float>{0, 1, 0});
  CHECK_THROWS_AS(Task::parse("multiclass").targets(labels, 3), InputError);
  for (const char* text :
       {"", "odd", "classes:1", "classes:1,2,3", "classes:a,b", "groups:1,2", "groups:1|1", "groups:|1"}) {
    CHECK_THROWS_AS(Task::parse(text), UsageError);
  }
}

TEST_CASE("training images are balanced across classes, without repeats, and the same for the same seed") {
  const Task task = Task::parse("odd-even");
  Generator first = seeded(3), second = seeded(3), other = seeded(4);
  const Tensor rows = draw_training_rows(fashion(), task, 21, first);
  CHECK(at::equal(rows, draw_training_rows(fashion(), task, 21, second)));
  CHECK_FALSE(at::equal(rows, draw_training_rows(fashion(), task, 21, other)));
  const auto values = to_doubles(rows);
  CHECK(std::set<double>(values.begin(), values.end()).size() == 21);
  const auto odd = (fashion().labels.index_select(0, rows).remainder(2) == 1).sum().item<std::int64_t>();
  CHECK((odd == 10 || odd == 11));
  CHECK_THROWS_AS(draw_training_rows(fashion(), Task::parse("classes:1,2"), 12001, first), UsageError);
}

TEST_CASE("a control set shares no picture with the training set, and one that does is refused") {
  Generator random = seeded(5);
  LabelledImages few = fashion().select(at::arange(40, at::kLong));
  const Tensor training = few.images.narrow(0, 0, 30);
  const LabelledImages control = draw_control(few, Task::parse("odd-even"), training, 1000, random);
  CHECK(control.size() == 10);
  CHECK(without_copies(training, control, "control").dropped.empty());
  CHECK_THROWS_AS(without_copies(training, few, "control"), InputError);
  // A slightly lossy copy counts as the same image: it is neither drawn nor accepted.
  LabelledImages copied = few;
  copied.images = few.images.clone();
  copied.images.narrow(0, 0, 30).add_(1.0 / 255).clamp_(0, 1);
  CHECK(draw_control(copied, Task::parse("odd-even"), training, 1000, random).size() == 10);
  CHECK_THROWS_AS(without_copies(training, copied, "control"), InputError);
  // The same picture after subtracting and adding the mean.
  const Tensor mean = training.mean(0);
  CHECK(pixel_hash((training[3] - mean) + mean) == pixel_hash(training[3]));
}

TEST_CASE(
    "a task with a side that no image of the source is on is refused with the side and the classes that there are") {
  Generator random = seeded(1);
  LabelledImages source{at::rand({6, 4}), at::tensor({0, 1, 3, 0, 1, 3}, at::kLong), "source", {}};
  const auto draw = [&](const std::string& task) {
    return draw_training_rows(source, Task::parse(task), 2, random).numel();
  };
  for (const char* task : {"odd-even", "classes:3,0", "groups:7,0|1,9", "multiclass"}) CHECK(draw(task) == 2);
  for (const auto& [task, side] : {std::pair{"classes:1,7", "class 7 (the side +1)"},
                                   {"classes:7,1", "class 7 (the side -1)"},
                                   {"classes:7,8", "class 7 (the side -1)"},
                                   {"groups:0|2,4", "classes 2, 4 (the side +1)"}}) {
    CAPTURE(task);
    CHECK_THROWS_AS(draw(task), UsageError);
    CHECK_THROWS_WITH(draw(task), Catch::StartsWith(std::string("--task ") + task + ": ") && Catch::Contains(side) &&
                                      Catch::EndsWith("the data have classes 0, 1, 3"));
  }
  source.labels = at::full({6}, 2, at::kLong);
  for (const char* task : {"odd-even", "multiclass"}) {
    CHECK_THROWS_AS(draw(task), UsageError);
    CHECK_THROWS_WITH(draw(task), Catch::EndsWith("the data have class 2"));
  }
  // A control set is drawn for the task of a network that exists: one side is enough.
  CHECK(draw_control(source, Task::parse("odd-even"), at::rand({3, 4}), 6, random).size() == 6);
  CHECK(draw_control(source, Task::parse("classes:2,7"), at::rand({3, 4}), 6, random).size() == 6);
  CHECK_THROWS_AS(draw_control(source, Task::parse("classes:1,7"), at::rand({3, 4}), 6, random), InputError);
}

TEST_CASE(
    "copies of training images are left out of a control set by their rows, and a control set of many is refused") {
  LabelledImages control = fashion().select(at::arange(100, 140, at::kLong));
  const Tensor training = fashion().images.narrow(0, 0, 30);
  control.images = control.images.clone();
  CHECK(without_copies(training, control, "control").dropped.empty());
  control.images[7] = training[3];
  control.images[20] = (training[5] + 1.0 / 255).clamp(0, 1);
  const auto [kept, dropped] = without_copies(training, control, "control");
  CHECK(dropped == std::vector<std::int64_t>{7, 20});
  CHECK(kept.size() == 38);
  CHECK(at::equal(kept.images.slice(0, 0, 7), control.images.slice(0, 0, 7)));
  CHECK(at::equal(kept.labels[7], control.labels[8]));
  CHECK(without_copies(training, kept, "control").dropped.empty());
  control.images.slice(0, 0, 3).copy_(training.slice(0, 0, 3));
  CHECK_THROWS_AS(without_copies(training, control, "control"), InputError);
  CHECK_THROWS_WITH(without_copies(training, control, "control"), Catch::Contains("5 of its 40 images"));
}

TEST_CASE("the notes of a source count its samples, and its classes one by one up to ten") {
  const auto says = [](const LabelledImages& images, const std::string& note) {
    return std::find(images.notes.begin(), images.notes.end(), note) != images.notes.end();
  };
  CHECK(says(fashion(), "read 60000 samples of 28 x 28 = 784 inputs"));
  CHECK(says(fashion(),
             "10 classes: 0 (6000), 1 (6000), 2 (6000), 3 (6000), 4 (6000), 5 (6000), 6 (6000), 7 (6000), 8 "
             "(6000), 9 (6000)"));
  CHECK(fashion().select(at::arange(3, at::kLong)).notes == fashion().notes);
  const Folder folder;
  const auto load = [&](const Tensor& labels) {
    write_npz(folder.at("data.npz"),
              {{"images", to_array(at::rand({labels.size(0), 1}))}, {"labels", to_array(labels)}});
    return load_images("npz:" + folder.at("data.npz").string());
  };
  CHECK(says(load(at::tensor({7}, at::kLong)), "read 1 sample of 1 input"));
  CHECK(says(load(at::tensor({7}, at::kLong)), "1 class: 7 (1)"));
  CHECK(says(load(at::cat({at::arange(2, 13, at::kLong), at::tensor({5, 5, 6}, at::kLong)})),
             "11 classes: 2 to 12, of 1 to 3 samples each"));
  CHECK(says(load(at::one_hot(at::arange(3, at::kLong), 4)), "labels are one-hot rows of 4 columns"));
}

TEST_CASE("a control source that lacks a class has the numbers of the training source once they are matched") {
  const Folder folder;
  const auto load = [&](const std::vector<std::string>& names) {
    std::string text = "value,label\n";
    for (const auto& name : names) text += "0.5," + name + "\n";
    return load_images("csv:" + folder.write("t.csv", text).string());
  };
  const auto names = load({"ant", "cat", "dog"}).class_names;
  LabelledImages control = load({"cat", "dog"});
  CHECK(classes_in(control) == std::vector<std::int64_t>{0, 1});
  match_classes(control, names);
  CHECK(classes_in(control) == std::vector<std::int64_t>{1, 2});
  CHECK(control.class_names == names);
  match_classes(control, names);
  CHECK(classes_in(control) == std::vector<std::int64_t>{1, 2});
  // Some names of the training source are numbers, and all of the control source.
  control = load({"2", "7"});
  match_classes(control, load({"1", "2", "7", "other"}).class_names);
  CHECK(classes_in(control) == std::vector<std::int64_t>{1, 2});
  // Numbers are what they are, and so are classes without names.
  control = load({"2", "7"});
  match_classes(control, load({"1", "2"}).class_names);
  CHECK(classes_in(control) == std::vector<std::int64_t>{2, 7});
  match_classes(control, {});
  CHECK(classes_in(control) == std::vector<std::int64_t>{2, 7});
  control = load({"cat", "zebra"});
  CHECK_THROWS_AS(match_classes(control, names), InputError);
  CHECK_THROWS_WITH(match_classes(control, names), Catch::Contains("\"zebra\"") && Catch::Contains("\"dog\""));
}

TEST_CASE("labels in a column of one are a class for each image, whatever the source") {
  const Folder folder;
  const auto load = [&](const Tensor& labels) {
    write_npz(folder.at("data.npz"),
              {{"images", to_array(at::rand({labels.size(0), 4}))}, {"labels", to_array(labels)}});
    return classes_in(load_images("npz:" + folder.at("data.npz").string()));
  };
  for (const auto dtype : {at::kByte, at::kLong, at::kFloat}) {
    CHECK(load(at::ones({3, 1}, dtype)) == std::vector<std::int64_t>{1, 1, 1});
    CHECK(load(at::arange(3, at::kLong).unsqueeze(1).to(dtype)) == std::vector<std::int64_t>{0, 1, 2});
  }
  CHECK(load(at::one_hot(at::arange(3, at::kLong), 3)) == std::vector<std::int64_t>{0, 1, 2});
  const auto images = folder.write("images", std::string("\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\2\1\2\3\4", 20));
  const auto labels = folder.write("labels", std::string("\0\0\x08\x02\0\0\0\2\0\0\0\1\7\7", 14));
  CHECK(classes_in(load_images("idx:" + images.string() + "," + labels.string())) == std::vector<std::int64_t>{7, 7});
}

TEST_CASE("data sets with wrong pixels or labels are refused") {
  const auto file = temporary("data.npz");
  const auto refused = [&](const Tensor& images, const Tensor& labels) {
    write_npz(file, {{"images", to_array(images)}, {"labels", to_array(labels)}});
    CHECK_THROWS_AS(load_images("npz:" + file.string()), InputError);
  };
  const Tensor good = at::rand({3, 2, 2}), labels = at::arange(3, at::kLong);
  refused(good * 2 + 1, labels);
  refused(good - 1, labels);
  refused(at::full({3, 2, 2}, NAN), labels);
  refused(good, at::arange(4, at::kLong));
  refused(good, at::tensor({0, -1, 2}, at::kLong));
  refused(good, at::tensor({0.5, 1.0, 2.0}, at::kFloat));
  write_npz(file, {{"images", to_array(good)}, {"labels", to_array(at::tensor({0.0, 1.0, 2.0}, at::kFloat))}});
  CHECK(load_images("npz:" + file.string()).size() == 3);
  write_npz(file, {{"pixels", to_array(good)}});
  CHECK_THROWS_AS(load_images("npz:" + file.string()), InputError);
  CHECK_THROWS_AS(load_images("idx:only-one"), UsageError);
  CHECK_THROWS_AS(load_images("mnist"), UsageError);
  std::filesystem::remove(file);
}

TEST_CASE("weights that are not finite floating-point numbers are refused, and other precisions become float32") {
  const auto file = temporary("w.safetensors");
  const auto write = [&](const Tensor& tensor) {
    write_safetensors(file, {{{"fc1.weight", to_array(tensor)}}, {}, {}});
  };
  for (const double wrong : {std::nan(""), double{INFINITY}}) {
    write(at::full({2}, wrong));
    CHECK_THROWS_AS(read_parameters(file), InputError);
  }
  write(at::arange(3, at::kLong));
  CHECK_THROWS_AS(read_parameters(file), InputError);
  write(at::full({2}, 0.5, at::kDouble));
  CHECK(read_parameters(file)[0].scalar_type() == at::kFloat);
  // float16 0.5 is 0x3800, bfloat16 0.5 is 0x3f00.
  for (const auto& [dtype, high] : {std::pair{DType::f16, 0x38}, std::pair{DType::bf16, 0x3f}}) {
    write_safetensors(file, {{{"w", {dtype, {1}, {std::byte{0}, static_cast<std::byte>(high)}}}}, {}, {}});
    CHECK(read_parameters(file)[0].item<float>() == 0.5F);
  }
  CHECK_THROWS_AS(read_parameters("model.pt"), InputError);
  std::filesystem::remove(file);
}

TEST_CASE("weights are read from PyTorch files without batch counters, and from the key that is given") {
  const std::filesystem::path folder = std::filesystem::path(TEST_DATA) / "pytorch" / "2.13";
  for (const char* name : {"dense.pt", "module-prefix.pt", "checkpoint.pt"}) {
    const Parameters weights = read_parameters(folder / name);
    CHECK(weights.size() == 8);  // two dense layers, and a batch norm with its running statistics
    CHECK(weights.contains("1.running_mean"));
    CHECK_FALSE(weights.contains("1.num_batches_tracked"));
  }
  CHECK(read_parameters(folder / "script.pt").contains("0.0.weight"));
  const Parameters model = read_parameters(folder / "two.pt", "model");
  CHECK(at::equal(model.at("3.weight") * 0.5, read_parameters(folder / "two.pt", "ema.model").at("3.weight")));
  CHECK_THROWS_AS(read_parameters(folder / "two.pt"), InputError);
}

TEST_CASE("networks whose state dicts PyTorch 1.13 and 2.13 wrote give the outputs that PyTorch gives") {
  const std::string data = std::string(TEST_DATA) + "/";
  for (const char* version : {"1.13", "2.13"}) {
    CAPTURE(version);
    const std::string folder = data + "pytorch/" + version + "/";
    const NamedArrays expected = read_npz(folder + "outputs.npz");
    const auto check = [&](const Network& network, const Parameters& weights, const std::string& images,
                           const std::string& outputs) {
      CAPTURE(outputs);
      const Tensor wanted = to_tensor(*find(expected, outputs));
      const Tensor given = network.evaluate(network.arranged(weights, outputs), to_tensor(*find(expected, images)));
      CHECK((given - wanted).abs().max().item<double>() < 1e-5 * wanted.abs().max().item<double>());
    };
    const Parameters dense = read_parameters(folder + "network.pt");
    const auto layers = dense_layers(dense);
    REQUIRE(layers);
    const auto network = make_network(layers->architecture(), "standard", layers->sizes.front(), layers->sizes.back());
    check(*network, dense, "network_images", "network");
    check(*network, read_parameters(folder + "network-two.pt", "model"), "network_images", "network-two");
    const ScriptedNetwork conv(data + "conv-traced.pt", "torchscript:conv", {8, 8}, 2);
    check(conv, read_parameters(folder + "conv.pt"), "conv_images", "conv");
  }
}

TEST_CASE("a key names a dict of a PyTorch file or the beginning of names, and has to be in one of two checkpoints") {
  const std::filesystem::path folder = std::filesystem::path(TEST_DATA) / "pytorch" / "2.13";
  const auto plain = folder / "dense.npz", two = folder / "two.pt";
  for (const auto& file : {plain, folder / "script.pt", two}) {
    CHECK_THROWS_AS(read_parameters(file, "nothing"), UsageError);
  }
  CHECK(read_checkpoints(plain, two, "model", at::kFloat).trained.parameters.size() == 8);
  CHECK(read_checkpoints(two, plain, "model", at::kFloat).initial.parameters.size() == 8);
  CHECK_THROWS_WITH(read_checkpoints(plain, two, "nothing", at::kFloat), Catch::Contains("two.pt"));

  const test::Folder own;
  write_parameters(own.at("both.safetensors"),
                   Parameters({{"teacher.0.weight", at::ones({2, 2})}, {"student.0.weight", at::zeros({2, 2})}}));
  // As wrapped, and as Flax names them: what a message says, "student", is there without the wrapper.
  for (const std::string name : {"module.{}.0.weight", "{}._orig_mod.0.weight", "params/{}/Dense_0/kernel"}) {
    const auto of = [&](const std::string& who) { return fmt::format(fmt::runtime(name), who); };
    write_parameters(own.at("wrapped.safetensors"),
                     Parameters({{of("teacher"), at::ones({2, 2})}, {of("student"), at::zeros({2, 2})}}));
    const std::string key = name.starts_with("params") ? "params.student" : "student";
    const Weights student = read_weights(own.at("wrapped.safetensors"), key);
    CHECK(student.parameters.size() == 1);
    CHECK(at::equal(student.parameters[0], at::zeros({2, 2})));
  }
  CHECK_THROWS_AS(read_weights(own.at("both.safetensors"), "."), UsageError);
  for (const std::string key : {"student", "student."}) {
    const Weights student = read_weights(own.at("both.safetensors"), key);
    CHECK(at::equal(student.parameters.at("0.weight"), at::zeros({2, 2})));
    CHECK(student.notes == std::vector<std::string>{"1 of 2 tensors: those whose names begin with \"student.\""});
  }
}

TEST_CASE("denormals are flushed in every thread once compute is set up") {
  const int threads = set_up_compute(2);
  std::vector<int> flushed(threads, 0);
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) flushed[i] = flushes_denormals() ? 1 : 0;
  });
  CHECK(flushed == std::vector<int>(threads, 1));
}

}  // namespace afterimage
