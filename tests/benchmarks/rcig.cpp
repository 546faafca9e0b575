// The value of images distilled by RCIG: test accuracy of new networks of the same body that are trained on them,
// beside as many images distilled by KIP and as many random training images, evaluated alike; KIP's also by the kernel
// regression that they are distilled for.
//
//   benchmark_rcig TRAINING TEST SAMPLES MINUTES [option=value ...]
//
// TRAINING and TEST are DATA of the command line, e.g. idx:train-images,train-labels; SAMPLES training images are
// distilled, all test images tested. Ends after MINUTES or the option distillation-steps. Further names of options:
// seed, threads, networks (fresh ones, 3), fit-steps (of their Adam, 1000), kip-minutes (as RCIG's) and kip-steps.
#include "defenses/rcig.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>

#include "attacks/solver/adam.h"
#include "defenses/baselines.h"
#include "defenses/convexified_training.h"
#include "defenses/distillation.h"
#include "defenses/kip.h"
#include "models/compute.h"
#include "models/data/split.h"
#include "models/foundations/error.h"
#include "models/tangent/learned_function.h"

namespace {

using namespace afterimage;

constexpr Smoothing hard{};

struct Settings {
  std::int64_t seed = 1, threads = 1, networks = 3, fit_steps = 1000;
  std::string kip_minutes, kip_steps = "3000";
  std::map<std::string, std::string> rcig;
};

Settings settings_of(int count, char** values) {
  Settings settings;
  settings.rcig["distillation-steps"] = "1000000";
  for (int i = 0; i < count; ++i) {
    const std::string text = values[i];
    const auto equals = text.find('=');
    if (equals == std::string::npos) throw UsageError(text + ": has to be option=value");
    const std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    if (name == "seed") {
      settings.seed = std::stoll(value);
    } else if (name == "threads") {
      settings.threads = std::stoll(value);
    } else if (name == "networks") {
      settings.networks = std::stoll(value);
    } else if (name == "fit-steps") {
      settings.fit_steps = std::stoll(value);
    } else if (name == "kip-minutes") {
      settings.kip_minutes = value;
    } else if (name == "kip-steps") {
      settings.kip_steps = value;
    } else {
      settings.rcig[name] = value;
    }
  }
  return settings;
}

class Report final : public Progress {
 public:
  void stage(std::string_view name) override { fmt::print("{}\n", name); }
  void step(std::int64_t done, std::int64_t, std::string_view detail) override {
    if (done % 20 == 0) fmt::print("  step {}: {}\n", done, detail);
    std::fflush(stdout);
  }
};

// Pixels less their mean, over their deviation, as the distillation sees them.
struct Standardized {
  double mean, deviation;
  Tensor operator()(const Tensor& images) const { return (images - mean) / deviation; }
};

class Evaluation {
 public:
  Evaluation(const ConvolutionalNetwork& network, Standardized standardized, const Tensor& test, Tensor classes,
             const Settings& settings)
      : network_(network),
        standardized_(standardized),
        test_(standardized(test)),
        classes_(std::move(classes)),
        settings_(settings) {}

  void report(const std::string& name, const Tensor& images, const Tensor& targets) const {
    const Tensor set = standardized_(images);
    const Tensor centred = targets - 1 / static_cast<double>(targets.size(1));
    std::vector<double> trained, ridge, kernel;
    for (std::int64_t i = 0; i < settings_.networks; ++i) {
      Generator random = seeded(static_cast<std::uint64_t>(1000 + i));
      Tensor parameters = network_.initial(random, at::kFloat);
      kernel.push_back(by_kernel(parameters, set, centred));
      fit(parameters, set, centred);
      const ConvexifiedTraining solved(network_, parameters, set, centred, l2(set), hard);
      trained.push_back(accuracy([&](const Linearization& some) { return some.outputs(); }, parameters));
      const Tensor still = at::zeros({network_.body()});
      ridge.push_back(accuracy([&](const Linearization& some) { return solved.predict(some, still); }, parameters));
    }
    fmt::print("{:<28} trained network {}, ridge on its features {}, fresh tangent kernel {}\n", name, text(trained),
               text(ridge), text(kernel));
    std::fflush(stdout);
  }

 private:
  static double l2(const Tensor& set) { return 5e-4 * static_cast<double>(set.size(0)); }

  // Adam with a rate that falls to zero along a cosine.
  void fit(Tensor& parameters, const Tensor& images, const Tensor& targets) const {
    constexpr double rate = 1e-3, half_turn = 3.14159265358979323846;
    Adam adam(parameters);
    for (std::int64_t step = 0; step < settings_.fit_steps; ++step) {
      const double share = static_cast<double>(step) / static_cast<double>(settings_.fit_steps);
      adam.step(parameters, squared_loss_gradient(network_, parameters, images, targets, hard),
                rate * (1 + std::cos(half_turn * share)) / 2);
    }
  }

  double by_kernel(const Tensor& parameters, const Tensor& images, const Tensor& targets) const {
    const ConvexifiedTraining training(network_, parameters, images, targets, l2(images), hard);
    const Tensor moved = training.minimum(50).value;
    return accuracy([&](const Linearization& some) { return training.predict(some, moved); }, parameters);
  }

  template <typename Predict>
  double accuracy(const Predict& predict, const Tensor& parameters) const {
    constexpr std::int64_t chunk = 500;
    std::int64_t right = 0;
    for (std::int64_t at = 0; at < test_.size(0); at += chunk) {
      const std::int64_t count = std::min(chunk, test_.size(0) - at);
      const Linearization some(network_, parameters, test_.narrow(0, at, count), hard);
      right += (predict(some).argmax(1) == classes_.narrow(0, at, count)).sum().template item<std::int64_t>();
    }
    return static_cast<double>(right) / static_cast<double>(test_.size(0));
  }

  static std::string text(const std::vector<double>& shares) {
    const Tensor all = at::tensor(shares);
    return fmt::format("{:.2f} % (+- {:.2f})", 100 * all.mean().item<double>(),
                       100 * (shares.size() > 1 ? all.std().item<double>() : 0));
  }

  const ConvolutionalNetwork& network_;
  Standardized standardized_;
  Tensor test_, classes_;
  const Settings& settings_;
};

// Images less their mean, as `train` gives them to a network.
Undefended prepared(const LabelledImages& training, const Task& task) {
  const Tensor pixels = training.images.flatten(1), mean = pixels.mean(0);
  Undefended undefended;
  undefended.images = pixels - mean;
  undefended.targets = task.targets(training.labels, task.outputs(training.labels));
  undefended.space = {training.image_shape(), mean};
  return undefended;
}

using Given = std::map<std::string, std::string>;

SupportSet distilled(const Defense& defense, const Undefended& undefended, const Given& given, double minutes,
                     std::int64_t seed) {
  Generator random = seeded(static_cast<std::uint64_t>(seed));
  Report progress;
  progress.end_after(std::chrono::duration<double>(60 * minutes));
  NullStore no_store;
  const auto begun = std::chrono::steady_clock::now();
  const std::clock_t processor = std::clock();
  Job job{random, progress, no_store};
  SupportSet set = defense.configured(given).distill(undefended, job);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
  fmt::print("{}: {} steps in {:.0f} s, {:.0f} s of processor time\n", defense.name, set.evidence.at("steps").dump(),
             seconds.count(), static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC);
  return set;
}

int run(int count, char** values) {
  if (count < 5) throw UsageError("benchmark_rcig TRAINING TEST SAMPLES MINUTES [option=value ...]");
  const Settings settings = settings_of(count - 5, values + 5);
  const OptionValues options(rcig_defense().options, settings.rcig);
  set_up_compute(static_cast<int>(settings.threads));
  Generator random = seeded(static_cast<std::uint64_t>(settings.seed));

  const LabelledImages all = load_images(values[1]), test = load_images(values[2]);
  const Task task = Task::parse("multiclass");
  const Undefended undefended =
      prepared(all.select(draw_training_rows(all, task, std::stoll(values[3]), random)), task);
  const ImageSpace& space = undefended.space;
  const Tensor all_pixels = space.pixels(undefended.images), test_pixels = test.images.flatten(1);

  const ConvolutionalNetwork network(undefended.space.shape, options.whole("channels", 1, 4096), undefended.classes());
  const Standardized standardized{all_pixels.mean().item<double>(), all_pixels.std(false).item<double>()};
  const Evaluation evaluation(network, standardized, test_pixels, test.labels, settings);

  const double minutes = std::stod(values[4]);
  const SupportSet rcig = distilled(rcig_defense(), undefended, settings.rcig, minutes, settings.seed);
  fmt::print("log temperature {:.2f}, implicit gradient cut in {:.0f} % of steps, inner residual {:.3f}\n",
             rcig.evidence.at("log_temperature").get<double>(), 100 * rcig.evidence.at("implicit_cut").get<double>(),
             rcig.evidence.at("inner_residual").get<double>());
  evaluation.report("RCIG", space.pixels(rcig.images), rcig.targets);

  const Given as_many = {
      {"per-class", options.text("per-class")}, {"kernel", "reference"}, {"distillation-steps", settings.kip_steps}};
  const double kip_minutes = settings.kip_minutes.empty() ? minutes : std::stod(settings.kip_minutes);
  const SupportSet kip = distilled(kip_defense(), undefended, as_many, kip_minutes, settings.seed);
  evaluation.report("KIP", space.pixels(kip.images), kip.targets);
  constexpr double kip_ridge = 1e-5;
  const KernelRegression regression(distillation_kernel(undefended, /*reference=*/true), kip.images, kip.targets,
                                    kip_ridge);
  fmt::print("{:<28} its own kernel {:.2f} %\n", "",
             100 * accuracy(regression.values(test_pixels - space.mean),
                            task.targets(test.labels, undefended.targets.size(1))));

  Report progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  const SupportSet drawn =
      random_subset_defense().configured({{"per-class", options.text("per-class")}}).distill(undefended, job);
  evaluation.report("as many training images", space.pixels(drawn.images), drawn.targets);
  return 0;
}

}  // namespace

int main(int count, char** values) {
  restart_without_spinning(values);
  try {
    return run(count, values);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
