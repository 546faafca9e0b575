#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "audit/run_directory.h"
#include "models/formats/image_file.h"
#include "models/formats/npz.h"
#include "reports/contact_sheet.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

constexpr int side = 16;

// Boxes or discs on a slope of colours, with pixels at both ends of the range as photographs have them.
Picture drawn(int number, bool discs) {
  std::mt19937 random(static_cast<unsigned>(number));
  const auto uniform = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(random()) / 4294967295.0;
  };
  std::vector<double> values(side * side * 3);
  const auto fill = [&](auto&& inside, auto&& colour) {
    for (int i = 0; i < side * side * 3; ++i) {
      const int pixel = i / 3, column = pixel % side, row = pixel / side;
      const double x = column / (side - 1.0), y = row / (side - 1.0);
      if (inside(x, y)) values[static_cast<std::size_t>(i)] = colour(i % 3, x, y);
    }
  };
  double base[3], across[3], down[3], shade[3];
  for (int c = 0; c < 3; ++c) {
    base[c] = uniform(0.1, 0.9);
    across[c] = uniform(-0.6, 0.6);
    down[c] = uniform(-0.6, 0.6);
  }
  fill([](double, double) { return true; },
       [&](int c, double x, double y) { return base[c] + across[c] * (x - 0.5) + down[c] * (y - 0.5); });
  for (int shape = 0; shape < 3; ++shape) {
    const double left = uniform(0.1, 0.9), top = uniform(0.1, 0.9), radius = uniform(0.1, 0.35);
    for (double& value : shade) value = uniform(-0.3, 1.3);
    fill(
        [&](double x, double y) {
          const double dx = std::abs(x - left), dy = std::abs(y - top);
          return discs ? dx * dx + dy * dy < radius * radius : dx < radius && dy < 0.8 * radius;
        },
        [&](int c, double, double) { return shade[c]; });
  }
  Picture picture{side, side, 3, {}};
  for (const double value : values) {
    picture.pixels.push_back(
        static_cast<std::uint8_t>(std::lround(255 * std::clamp((value - 0.5) * 1.8 + 0.5, 0.0, 1.0))));
  }
  return picture;
}

void require_done(const std::string& arguments) {
  const Result result = run(arguments);
  INFO(result.err);
  REQUIRE(result.code == 0);
}

std::string folder_of_shapes(const Folder& folder, int pictures) {
  for (const char* name : {"box", "disc"}) fs::create_directories(folder / ("shapes/" + std::string(name)));
  for (int i = 0; i < pictures; ++i) {
    const bool discs = i % 2 == 1;
    write(folder / ("shapes/" + std::string(discs ? "disc/" : "box/") + std::to_string(i) + ".png"),
          encode_png(drawn(i, discs)));
  }
  return "folder:" + (folder / "shapes");
}

}  // namespace

TEST_CASE("colour pictures from a folder are reconstructed from a network that was trained on them normalised") {
  const Folder folder;
  const std::string run_folder = folder / "run", data = folder_of_shapes(folder, 210);
  require_done("train --quiet --data " + data +
               " --task odd-even --samples 10 --architecture mlp:256,256 --normalize 0.5/0.49/0.48,0.36/0.35/0.34 "
               "--out " +
               run_folder);

  const ModelDescription model = read_model(run_folder + "/model.json");
  CHECK(model.input_shape == std::vector<std::int64_t>{side, side, 3});
  const TrainingSet set = read_training_set(run_folder + "/training-set.npz", model);
  CHECK(set.space.mean[1].item<float>() == 0.49F);
  CHECK(set.space.scale[2].item<float>() == 0.34F);
  // The inputs are a picture of the folder, normalised here.
  const Tensor pixels = set.pixels();
  double nearest = 1;
  for (const auto& entry : fs::recursive_directory_iterator(folder / "shapes")) {
    if (entry.is_directory()) continue;
    const Tensor picture = to_tensor(read_image(entry.path())).to(at::kFloat).div(255).flatten();
    nearest = std::min(nearest, (picture - pixels[0]).abs().max().item<double>());
  }
  CHECK(nearest < 1e-6);

  require_done("audit " + run_folder + " --quiet --attacks span,vertices,finite-width --out " + (folder / "report"));
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["findings"][0]["membership"]["auc"] == 1.0);
  const auto& found = report["findings"][2];
  CHECK(found["reconstructed"]["count"].get<int>() >= 8);
  CHECK(found["control"]["rate"].get<double>() <= 0.02);
  CHECK(found["confirmed"]["right"] == found["confirmed"]["count"]);
  CHECK(found["mean_ssim"].get<double>() > 0.9);

  // Distances are those of pixels: the first sample's, recomputed from what lies beside the report.
  const NamedArrays claim = read_npz(folder / "report/finite-width.npz");
  const Tensor images =
      at::clamp(to_tensor(*find(claim, "images")).to(at::kFloat) * set.space.scale + set.space.mean, 0, 1);
  const auto& sample = found["samples"][0];
  const Tensor original = pixels[sample["index"].get<std::int64_t>()];
  const double distance = (images - original).norm(2, 1).min().item<double>();
  CHECK(sample["distance"].get<double>() == Approx(distance).margin(1e-5));
  CHECK(sample["relative_distance"].get<double>() ==
        Approx(distance / (original - set.space.mean).norm().item<double>()).margin(1e-5));

  const Array sheet = read_image(folder / "report/contact-sheet.png");
  CHECK(sheet.shape.back() == 3);
  require_done("verify " + (folder / "report/report.json"));

  // Another picture in the folder is another source.
  write(folder / "shapes/box/more.png", encode_png(drawn(1000, false)));
  CHECK(run("verify " + (folder / "report/report.json")).code == 4);
}

TEST_CASE("the control set is made grey and resized as the training set was") {
  const Folder folder;
  const std::string run_folder = folder / "run", data = folder_of_shapes(folder, 60);
  require_done("train --quiet --data " + data +
               " --task classes:0,1 --samples 4 --architecture mlp:64 --steps 20 --grey --resize 12x10 --out " +
               run_folder);
  CHECK(json_in(run_folder + "/model.json")["input_shape"] == nlohmann::json{12, 10});
  CHECK(json_in(run_folder + "/model.json")["preprocessing"] == nlohmann::json({{"grey", true}, {"resize", {12, 10}}}));
  require_done("audit " + run_folder + " --quiet --attacks span --out " + (folder / "report"));
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["data"]["dimension"] == 120);
  CHECK(report["data"]["control_samples"] == 56);  // all pictures but the four
  const Result given =
      run("audit " + run_folder + " --quiet --attacks span --control " + data + " --out " + (folder / "other"));
  INFO(given.err);
  CHECK(given.out.find("control: 4 of 60 images are training images") != std::string::npos);
  CHECK(json_in(folder / "other/report.json")["data"]["control_samples"] == 56);
}

TEST_CASE("an invalid normalisation is refused with the name of the option") {
  const Folder folder;
  const std::string data = folder_of_shapes(folder, 10);
  const auto train = [&](const std::string& options) {
    const Result result = run("train --quiet --data " + data + " --task odd-even --samples 4 --architecture mlp:8 " +
                              options + " --out " + (folder / "run"));
    CHECK(lines_in(result.err) == 1);
    CHECK_FALSE(fs::exists(folder / "run"));
    return result;
  };
  for (const char* wrong : {"0.5", "0.5,", ",0.5", "0.5,0", "0.5,-1", "125,63", "0.5,nan", "0.5/0.5,0.2", "a,b",
                            "0.5,0.2,0.1", "0.5/0.5/0.5/0.5,0.2", "0.5/,0.2"}) {
    CAPTURE(wrong);
    const Result result = train("--normalize " + std::string(wrong));
    CHECK(result.code == 2);
    CHECK(result.err.find("--normalize") != std::string::npos);
  }
  CHECK(train("--normalize 0.5,0.2 --mean none").code == 2);
  CHECK(train("--resize 0x4").code == 2);
  CHECK(train("--resize 20").code == 2);
}

}  // namespace afterimage::test
