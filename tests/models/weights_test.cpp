// Weights as real programs write them (tests/models/released_fixtures.py), compared with what those programs say of
// them; and names and layouts by hand.
#include "models/weights.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "models/data/labelled_images.h"
#include "models/dense_layers.h"
#include "models/formats/npz.h"
#include "models/formats/safetensors.h"
#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "models/mlp.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;
const fs::path released = fs::path(TEST_DATA) / "released";

Weights made_of(std::vector<Parameters::Entry> entries) { return {Parameters(std::move(entries)), {}}; }

double relative_distance(const Tensor& read, const Tensor& expected) {
  const double size = expected.norm().item<double>();
  return (read.to(at::kDouble) - expected.to(at::kDouble)).norm().item<double>() / (size > 0 ? size : 1);
}

Json manifest() {
  const std::string file = (released / "manifest.json").string();
  return parse_json(read_file(file, 1 << 20), file);
}

// Of a name in Keras or Flax.
std::string pytorch_name(std::string name) {
  if (name.starts_with("arr_")) {
    const int position = std::stoi(name.substr(4));
    return std::to_string(position / 2) + (position % 2 == 0 ? ".weight" : ".bias");
  }
  std::replace(name.begin(), name.end(), '/', '.');
  constexpr std::string_view kernel = "kernel";
  if (name.ends_with(kernel)) name.replace(name.size() - kernel.size(), kernel.size(), "weight");
  return name;
}

std::string refusal(const fs::path& file, const std::string& key = "") {
  try {
    read_weights(file, key);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE(
    "files of the real libraries hold the weights that those libraries say, to 1e-7, and give their outputs to 1e-5") {
  const Json files = manifest();
  int compared = 0, networks = 0;
  std::set<std::string> libraries;
  for (const auto& entry : files) {
    if (entry["expected"].is_null() || entry["refusal"] || entry["kind"] != "weights") continue;
    const fs::path file = released / entry["file"].get<std::string>();
    CAPTURE(file.string());
    const std::string key = entry["key"].is_null() ? "" : entry["key"].get<std::string>();
    const auto beside = entry.value("beside", std::set<std::string>());
    const Weights weights = read_weights(file, key);
    const NamedArrays expected = read_npz(released / entry["expected"].get<std::string>());
    const auto stored = entry.value("names", std::map<std::string, std::string>());
    for (const auto& [plain, array] : expected) {
      if (plain == "inputs" || plain == "outputs") continue;
      const std::string name = stored.contains(plain) ? pytorch_name(stored.at(plain)) : plain;
      CAPTURE(name);
      if (beside.contains(name)) {
        const WeightFile whole = read_weight_file(file, key);
        const Array* kept = find(whole.content.arrays, name);
        REQUIRE(kept != nullptr);
        CHECK(relative_distance(to_tensor(*kept), to_tensor(array)) <= 1e-7);
        continue;
      }
      REQUIRE(weights.parameters.contains(name));
      const Tensor& read = weights.parameters.at(name);
      CHECK(read.sizes().vec() == array.shape);
      CHECK(relative_distance(read, to_tensor(array)) <= 1e-7);
    }
    ++compared;
    libraries.insert(entry["library"].get<std::string>());
    const Array *inputs = find(expected, "inputs"), *outputs = find(expected, "outputs");
    if (inputs == nullptr || outputs == nullptr) continue;
    const auto dense = dense_layers(weights.parameters);
    REQUIRE(dense);
    const auto network = make_network(dense->architecture(), "standard", dense->sizes.front(), dense->sizes.back());
    const Tensor made = network->evaluate(network->arranged(weights.parameters, file.string()).to(at::kDouble),
                                          to_tensor(*inputs).to(at::kDouble));
    CHECK((made - to_tensor(*outputs).to(at::kDouble)).abs().max().item<double>() <= 1e-5);
    ++networks;
  }
  CHECK(compared >= 40);
  CHECK(networks >= 20);
  CHECK(libraries.size() >= 7);
}

TEST_CASE("files of the real libraries that hold no weights that can be audited are refused with what to do") {
  const Json files = manifest();
  int refused = 0;
  for (const auto& entry : files) {
    if (!entry.value("refusal", false)) continue;
    const std::string message = refusal(released / entry["file"].get<std::string>());
    CAPTURE(entry["file"].get<std::string>(), message);
    CHECK(std::count(message.begin(), message.end(), ';') + std::count(message.begin(), message.end(), ':') >= 1);
    CHECK(!message.empty());
    ++refused;
  }
  CHECK(refused >= 3);
}

TEST_CASE(
    "training sets of NumPy with unsigned labels, other byte orders and half precision are read as NumPy reads them") {
  const Json files = manifest();
  int sets = 0;
  for (const auto& entry : files) {
    if (entry["kind"] != "data") continue;
    const std::string file = (released / entry["file"].get<std::string>()).string();
    CAPTURE(file);
    const LabelledImages data = load_images("npz:" + file);
    const NamedArrays expected = read_npz(released / entry["expected"].get<std::string>());
    CHECK(relative_distance(data.images, to_tensor(*find(expected, "images"))) <= 1e-7);
    CHECK(at::equal(data.labels.to(at::kDouble), to_tensor(*find(expected, "labels")).to(at::kDouble)));
    ++sets;
  }
  CHECK(sets >= 8);
}

TEST_CASE("the format of a file of weights is told by its content, whatever its name") {
  const test::Folder folder;
  const fs::path fixtures = fs::path(TEST_DATA) / "pytorch" / "2.13";
  const Parameters known = read_parameters(fixtures / "dense.pt");
  for (const char* name : {"model.ckpt", "pytorch_model.bin", "weights", "weights.dat", "last.pth"}) {
    fs::copy_file(fixtures / "dense.pt", folder.at(name));
    CAPTURE(name);
    const Parameters read = read_parameters(folder.at(name));
    REQUIRE(read.size() == known.size());
    CHECK(at::equal(read[0], known[0]));
  }
  fs::copy_file(fixtures / "dense.npz", folder.at("arrays"));
  CHECK(read_parameters(folder.at("arrays")).size() == known.size());
  write_parameters(folder.at("kept"), known);
  CHECK(read_weight_file(folder.at("kept")).kind == "safetensors");
  CHECK(contains(refusal(folder.write("a.weights", "hello, hello, hello")), "unknown weight format"));
  CHECK(contains(refusal(folder.write("a.gguf", "GGUF and more of it")), "GGUF"));
  CHECK(contains(refusal(folder.write("a.h5", "\x89HDF\r\n\x1a\n and more")), "numpy.savez"));
}

TEST_CASE("sharded safetensors are read through their index, and an index that does not fit its files is refused") {
  const test::Folder folder;
  const Parameters all({{"a.weight", at::rand({3, 2})}, {"a.bias", at::rand({3})}, {"b.weight", at::rand({1, 3})}});
  const auto part = [&](std::size_t from, std::size_t to) {
    return Parameters({all.entries().begin() + static_cast<std::ptrdiff_t>(from),
                       all.entries().begin() + static_cast<std::ptrdiff_t>(to)});
  };
  write_parameters(folder.at("m-00001-of-00002.safetensors"), part(0, 2));
  write_parameters(folder.at("m-00002-of-00002.safetensors"), part(2, 3));
  const auto index = [&](const std::string& map) {
    return folder.write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  };
  const std::string one = "\"a.weight\":\"m-00001-of-00002.safetensors\",\"a.bias\":\"m-00001-of-00002.safetensors\"",
                    two = "\"b.weight\":\"m-00002-of-00002.safetensors\"";
  const fs::path good = index(one + "," + two);
  for (const auto& path : {good, good.parent_path()}) {
    const WeightFile file = read_weight_file(path);
    CHECK(file.kind == "safetensors in 2 files");
    const Parameters read = read_parameters(path);
    REQUIRE(read.size() == 3);
    for (const auto& [name, tensor] : all.entries()) CHECK(at::equal(read.at(name), tensor));
  }
  CHECK(contains(refusal(folder.at("m-00001-of-00002.safetensors")), "one shard of several"));
  CHECK(read_parameters(index(one)).size() == 2);  // what the index does not name is not asked for
  const std::pair<std::string, const char*> wrong[] = {
      {one + ",\"c.weight\":\"m-00002-of-00002.safetensors\"", "does not name for it"},
      {"\"a.weight\":\"m-00001-of-00002.safetensors\"", "does not name for it"},
      {one + ",\"b.weight\":\"../m-00002-of-00002.safetensors\"", "same folder"},
      {one + ",\"b.weight\":\"/etc/passwd\"", "same folder"},
      {one + ",\"b.weight\":7", "same folder"},
      {one + ",\"b.weight\":\"missing.safetensors\"", "missing.safetensors"},
      {one + "," + two + ",\"b.bias\":\"m-00002-of-00002.safetensors\"", "belong together"},
      {"", "names 0 files"}};
  for (const auto& [map, part_of_message] : wrong) {
    CAPTURE(map);
    CHECK(contains(refusal(index(map)), part_of_message));
  }
  CHECK(contains(refusal(folder.write("x.safetensors.index.json", "{}")), "no weight_map"));
}

TEST_CASE("weight and spectral normalisation are carried out as by hand, and parts that do not fit are refused") {
  const Tensor v = at::rand({4, 3}), g = at::rand({4, 1}) + 0.5, w = at::rand({4, 3}), u = at::rand({4}),
               r = at::rand({3});
  Weights weights = made_of({{"a.bias", at::rand({4})},
                             {"a.parametrizations.weight.original0", g},
                             {"a.parametrizations.weight.original1", v},
                             {"b.parametrizations.weight.original", w},
                             {"b.parametrizations.weight.0._u", u},
                             {"b.parametrizations.weight.0._v", r}});
  to_pytorch_layout(weights, "file");
  REQUIRE(weights.parameters.size() == 3);
  const Tensor a = weights.parameters.at("a.weight"), b = weights.parameters.at("b.weight");
  for (std::int64_t i = 0; i < 4; ++i) {
    double squares = 0, sigma = 0;
    for (std::int64_t j = 0; j < 3; ++j) squares += std::pow(v[i][j].item<double>(), 2);
    for (std::int64_t k = 0; k < 4; ++k) {
      for (std::int64_t j = 0; j < 3; ++j) sigma += u[k].item<double>() * w[k][j].item<double>() * r[j].item<double>();
    }
    for (std::int64_t j = 0; j < 3; ++j) {
      CHECK(a[i][j].item<double>() == Approx(g[i][0].item<double>() * v[i][j].item<double>() / std::sqrt(squares)));
      CHECK(b[i][j].item<double>() == Approx(w[i][j].item<double>() / sigma));
    }
  }
  Weights by_column = made_of({{"a.weight_g", at::full({1, 3}, 2.0)}, {"a.weight_v", v}});
  to_pytorch_layout(by_column, "file");
  CHECK(at::allclose(by_column.parameters.at("a.weight").norm(2, 0), at::full({3}, 2.0)));
  for (const auto& wrong : {at::rand({3, 1}), at::zeros({0, 1}), at::rand({4})}) {
    Weights broken = made_of({{"a.weight_g", wrong}, {"a.weight_v", v}});
    CHECK_THROWS_AS(to_pytorch_layout(broken, "file"), InputError);
  }
  Weights zero = made_of({{"a.weight_g", g}, {"a.weight_v", at::zeros({4, 3})}});
  CHECK_THROWS_AS(to_pytorch_layout(zero, "file"), InputError);
  Weights twice = made_of({{"a/kernel", w}, {"a.weight", v}});
  CHECK_THROWS_AS(to_pytorch_layout(twice, "file"), InputError);
}

TEST_CASE("weights that are left out are refused, and not taken for a network without them") {
  const test::Folder folder;
  Safetensors content;
  content.arrays = {{"0.weight", array_of({4, 3}, std::vector<float>(12, 0.5F))},
                    {"2.weight", array_of({4, 4}, std::vector<std::int64_t>(16, 1))},
                    {"4.weight", array_of({1, 4}, std::vector<float>(4, 0.5F))}};
  write_safetensors(folder.at("a.safetensors"), content);
  CHECK(contains(refusal(folder.at("a.safetensors")), "tensor \"2.weight\" is int64"));
  content.arrays[1].first = "2.lora_down.weight";
  content.arrays[1].second = array_of({4, 4}, std::vector<float>(16, 1));
  write_safetensors(folder.at("b.safetensors"), content);
  CHECK(contains(refusal(folder.at("b.safetensors")), "merge it"));
}

TEST_CASE("a kernel in a PyTorch file keeps its layout, and beside a loss's weights a prefix is still taken off") {
  Weights pickled = made_of({{"0.kernel", at::rand({3, 3})}});
  pickled.of_pickle = true;
  to_pytorch_layout(pickled, "file");
  CHECK(pickled.parameters.contains("0.kernel"));
  Weights plain = made_of({{"0.weight", at::rand({3, 2})}}),
          lightning = made_of({{"model.0.weight", at::rand({3, 2})}, {"criterion.weight", at::rand({3})}});
  agree_on_names(plain, "first", lightning, "second");
  CHECK(lightning.parameters.size() == 1);
  CHECK(lightning.parameters.contains("0.weight"));
  CHECK(contains(lightning.notes.back(), "criterion.weight"));
}

TEST_CASE("a copy of the weights behind a prefix, as an average, does not take the place of the weights") {
  Weights plain = made_of({{"0.weight", at::rand({3, 2})}}),
          both = made_of({{"0.weight", at::rand({3, 2})}, {"ema.0.weight", at::zeros({3, 2})}});
  agree_on_names(plain, "first", both, "second");
  CHECK(both.parameters.size() == 2);
  CHECK(both.notes.empty());
}

TEST_CASE("of two networks in one file that whose shapes agree is taken, and where both do the user is asked") {
  const auto beside = [](int teacher) {
    return made_of({{"teacher.0.weight", at::rand({teacher, 2})}, {"student.0.weight", at::ones({3, 2})}});
  };
  Weights plain = made_of({{"0.weight", at::rand({3, 2})}}), wider = beside(5), alike = beside(3);
  agree_on_names(plain, "first", wider, "second");
  CHECK(at::equal(wider.parameters.at("0.weight"), at::ones({3, 2})));
  CHECK_THROWS_WITH(agree_on_names(plain, "first", alike, "second"),
                    Catch::Contains("second: holds 2 networks") && Catch::Contains("--key teacher"));
}

TEST_CASE("the digest of an index changes with the files that it names") {
  const test::Folder folder;
  const auto index = folder.write("m.safetensors.index.json", "{\"weight_map\":{\"a\":\"m-1.safetensors\"}}");
  write_parameters(folder.at("m-1.safetensors"), Parameters({{"a", at::zeros({2})}}));
  const auto before = digest_of_weights(index);
  write_parameters(folder.at("m-1.safetensors"), Parameters({{"a", at::ones({2})}}));
  CHECK(digest_of_weights(index).sha256 != before.sha256);
  CHECK(digest_of_weights(folder.at(".")).sha256 == digest_of_weights(index).sha256);  // the same weights
  CHECK(digest_of_weights(folder.at("m-1.safetensors")).sha256 == digest_of(folder.at("m-1.safetensors")).sha256);
}

TEST_CASE("a prefix of one file alone is taken off where that makes the two files agree, and else none is") {
  const auto named = [](const std::string& prefix) {
    return made_of({{prefix + "0.weight", at::rand({3, 2})}, {prefix + "2.weight", at::rand({1, 3})}});
  };
  for (const std::string prefix : {"model.", "net.", "a.b."}) {
    Weights plain = named(""), inside = named(prefix);
    agree_on_names(plain, "first", inside, "second");
    CHECK(inside.parameters.contains("0.weight"));
    CHECK(inside.notes.size() == 1);
    Weights before = named(prefix), after = named("");
    agree_on_names(before, "first", after, "second");
    CHECK(before.parameters.contains("2.weight"));
  }
  Weights one = named("model."), same = named("model."), other = named("else.");
  agree_on_names(one, "first", same, "second");
  CHECK(one.parameters.contains("model.0.weight"));
  CHECK((one.notes.empty() && same.notes.empty()));
  agree_on_names(one, "first", other, "second");  // wrapped in modules of two names
  CHECK((one.parameters.contains("0.weight") && other.parameters.contains("0.weight")));
  CHECK((one.notes.size() == 1 && other.notes.size() == 1));
  Weights left = made_of({{"a.w", at::rand({3, 2})}}), right = made_of({{"b.v", at::rand({3, 2})}});
  agree_on_names(left, "first", right, "second");
  CHECK((left.parameters.contains("a.w") && right.parameters.contains("b.v")));
}

TEST_CASE(
    "a mean, a scale and an empty tensor beside dense layers are no layers, and a parameter of another kind is none") {
  std::vector<Parameters::Entry> layers = {{"0.weight", at::rand({5, 4})},
                                           {"0.bias", at::rand({5})},
                                           {"2.weight", at::rand({1, 5})},
                                           {"2.bias", at::rand({1})}};
  const auto with = [&](const std::string& name, const Tensor& tensor) {
    auto all = layers;
    all.insert(all.begin(), {name, tensor});
    return dense_layers(Parameters(all));
  };
  for (const auto& tensor :
       {at::rand({1}), at::rand({4}), at::rand({1, 2, 2}), at::zeros({0, 4}), at::scalar_tensor(2)}) {
    const auto dense = with("mean", tensor);
    REQUIRE(dense);
    CHECK(dense->beside == std::vector<std::string>{"mean"});
    CHECK(dense->architecture() == "mlp:5");
  }
  CHECK_FALSE(with("1.weight", at::rand({4})));
  CHECK_FALSE(with("in_proj_weight", at::rand({4})));
  CHECK_FALSE(with("1.running_mean", at::rand({4})));
  CHECK_FALSE(with("layer_norm.gamma", at::rand({4})));
  CHECK_FALSE(with("weight_ih_l0", at::rand({1})));
}

}  // namespace afterimage
