// Weights in float64, of which float32 would lose the change.
#include <catch2/catch.hpp>

#include "models/formats/npz.h"
#include "models/mlp.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

constexpr std::int64_t pixels = 100, images = 6;

// A network after three steps of so small a size on `inputs` [n, d] with targets +-1.
Parameters trained(const Mlp& network, const Parameters& initial, const Tensor& inputs, const Tensor& targets,
                   double step) {
  Parameters at = initial;
  for (int k = 0; k < 3; ++k) {
    at = at.plus(network.pullback(at, inputs, [&](const Tensor& outputs) { return outputs - targets; }), -step);
  }
  return at;
}

}  // namespace

TEST_CASE("a change of weights in float64 is audited in full, however small a part of them it is") {
  const Folder folder;
  Generator random = seeded(3);
  const Mlp network(pixels, {64, 64}, 1, Parameterization::standard);
  const Parameters initial = network.draw_initial(random).value().to(at::kDouble);
  const Tensor all = at::rand({images + 200, pixels}, random, at::kDouble), labels = at::arange(images + 200) % 2;
  const Tensor mean = all.slice(0, 0, images).mean(0), inputs = all.slice(0, 0, images) - mean;
  const Tensor targets = (1 - 2 * labels.slice(0, 0, images)).to(at::kDouble).unsqueeze(1);
  write_npz(folder / "training.npz", {{"images", to_array(inputs.to(at::kFloat))},
                                      {"labels", to_array(labels.slice(0, 0, images))},
                                      {"mean", to_array(mean.to(at::kFloat))}});
  write_npz(folder / "control.npz",
            {{"images", to_array(all.slice(0, images).to(at::kFloat))}, {"labels", to_array(labels.slice(0, images))}});
  write(folder / "model.json", R"({"architecture": "mlp:64,64", "input_shape": [100], "outputs": 1,)"
                               R"( "task": "classes:0,1", "loss": "squared"})");
  write_parameters(folder / "initial.safetensors", initial);
  for (const double step : {1e-6, 1e-9}) {
    CAPTURE(step);
    const std::string out = folder / ("report" + std::to_string(step < 1e-8));
    write_parameters(folder / "trained.safetensors", trained(network, initial, inputs, targets, step));
    run("audit --quiet --initial " + (folder / "initial.safetensors") + " --trained " +
        (folder / "trained.safetensors") + " --training-set " + (folder / "training.npz") +
        " --control npz:" + (folder / "control.npz") + " --model " + (folder / "model.json") +
        " --attacks span,finite-width --rounds 0 --steps 200 --out " + out);
    const auto report = json_in(out + "/report.json");
    CHECK(report["findings"][0]["membership"]["auc"] == 1.0);
    CHECK(report["findings"][0]["evidence"]["rank"] == images - 1);  // their mean was subtracted
    CHECK(report["findings"][1]["relative_loss"].get<double>() < 0.1);
    CHECK(report["deviation"]["linearization_error"].get<double>() < 1e-5);
    CHECK(report["deviation"]["residual_at_truth"].get<double>() < 1e-3);
  }
}

}  // namespace afterimage::test
