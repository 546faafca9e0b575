// Audits in which an attack fails or does not apply.
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <new>

#include "audit/runner.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

// Another network, except that `first_weight` gives the name of its first weight or throws.
class Guarded final : public DenseNetwork {
 public:
  Guarded(const DenseNetwork& network, std::function<std::string()> first_weight)
      : DenseNetwork(network.signature()), network_(network), first_weight_(std::move(first_weight)) {}

  std::string first_weight() const override { return first_weight_(); }
  std::string first_bias() const override { return network_.first_bias(); }
  double first_bias_scale() const override { return network_.first_bias_scale(); }
  Tensor first_layer_inputs(const Parameters& parameters, const Tensor& images) const override {
    return network_.first_layer_inputs(parameters, images);
  }
  std::vector<Tensor> activations(const Parameters& parameters, const Tensor& images) const override {
    return network_.activations(parameters, images);
  }
  AnalyticNtk infinite_kernel() const override { return network_.infinite_kernel(); }
  std::optional<Parameters> draw_initial(Generator& random) const override { return network_.draw_initial(random); }
  Parameters arranged(const Parameters& parameters, const std::string& file) const override {
    return network_.arranged(parameters, file);
  }
  Tensor evaluate(const Parameters& parameters, const Tensor& images) const override {
    return network_.evaluate(parameters, images);
  }
  Sloped input_gradient(const Parameters& parameters, const Tensor& images, const Tensor& cotangents) const override {
    return network_.input_gradient(parameters, images, cotangents);
  }
  Parameters pullback(const Parameters& parameters, const Tensor& images,
                      const std::function<Tensor(const Tensor&)>& cotangents) const override {
    return network_.pullback(parameters, images, cotangents);
  }
  Parameters clipped_pullback(const Parameters& parameters, const Tensor& images,
                              const std::function<Tensor(const Tensor&)>& cotangents, double clip,
                              const std::vector<bool>& trained) const override {
    return network_.clipped_pullback(parameters, images, cotangents, clip, trained);
  }
  Tensor pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const override {
    return network_.pushforward(parameters, direction, images);
  }
  std::vector<LayerSignals> layer_signals(const Parameters& parameters, const Tensor& images) const override {
    return network_.layer_signals(parameters, images);
  }
  std::unique_ptr<TangentFeatures> features_at(const Parameters& parameters, const Tensor& images,
                                               Smoothing relu) const override {
    return network_.features_at(parameters, images, relu);
  }
  Parameters in_basis(const Parameters& parameters, const Tensor& basis) const override {
    return network_.in_basis(parameters, basis);
  }
  using DenseNetwork::tangents_at;
  std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points, const Parameters& drift,
                                             const Tensor& basis) const override {
    return network_.tangents_at(points, drift, basis);
  }
  HiddenLayer last_hidden_layer() const override { return network_.last_hidden_layer(); }
  std::unique_ptr<TangentTarget> tangents_of_neurons(const Tensor& neurons, const std::vector<Parameters>& points,
                                                     const Parameters& drift, const Tensor& basis) const override {
    return network_.tangents_of_neurons(neurons, points, drift, basis);
  }

 private:
  const DenseNetwork& network_;
  std::function<std::string()> first_weight_;
};

// An audit in which the first attack throws what `fault` throws, and the second succeeds.
Report audit_with(const std::function<void()>& fault, const std::string& run_folder, const std::string& out) {
  AuditInput input = load_audit_input(files_of_run(run_folder), {}, 0);
  auto& released = std::get<TrainedNetwork>(input.subject.released);
  const auto network = released.network;
  const DenseNetwork& dense = *as_dense(*network);
  bool is_first = true;
  released.network = std::make_shared<Guarded>(dense, [&] {
    if (std::exchange(is_first, false)) fault();
    return dense.first_weight();
  });
  AuditRequest request;
  request.attacks = {"span", "vertices"};
  request.out = out;
  Context context;
  context.threads = 1;
  context.progress = std::make_unique<Silent>();
  return run_audit(input, request, context);
}

}  // namespace

TEST_CASE("an attack that fails or does not apply is a finding with a one-line reason, and the others continue") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const auto check = [&](const char* name, const std::function<void()>& fault, Status status, Verdict verdict,
                         int code) {
    CAPTURE(name);
    const std::string out = folder / name;
    const Report report = audit_with(fault, run_folder, out);
    REQUIRE(report.findings.size() == 2);
    CHECK(report.findings[0].status == status);
    CHECK(report.findings[0].reason == "the first line");
    CHECK(report.findings[1].status == Status::ok);
    CHECK(report.verdict == verdict);
    CHECK(run("verify " + out + "/report.json").code == code);
  };
  const auto fails = [] { throw std::runtime_error("the first line\nthe second"); };
  const auto does_not_apply = [] { throw NotApplicable("the first line"); };
  check("failed", fails, Status::failed, Verdict::inconclusive, 3);
  check("no-case", does_not_apply, Status::not_applicable, Verdict::not_gated, 0);
  const auto ended_by = [&](const std::function<void()>& fault) {
    fs::remove_all(folder / "ended");
    audit_with(fault, run_folder, folder / "ended");
  };
  CHECK_THROWS_AS(ended_by([] { throw UsageError("an option"); }), UsageError);
  CHECK_THROWS_AS(ended_by([] { throw InputError("a file"); }), InputError);
  CHECK_THROWS_AS(ended_by([] { throw Interrupted(); }), Interrupted);
  CHECK_THROWS_AS(ended_by([] { throw WriteError("a full disk"); }), WriteError);
  CHECK_THROWS_AS(ended_by([] { throw std::bad_alloc(); }), OutOfMemory);
#ifndef __SANITIZE_ADDRESS__  // whose allocator ends the program instead
  CHECK_THROWS_AS(ended_by([] { at::empty({std::int64_t{1} << 60}); }), OutOfMemory);
#endif
  CHECK_THROWS_AS(ended_by([] { fs::create_directories("/proc/self/none"); }), FileSystemError);
}

}  // namespace afterimage::test
