#include "defenses/rcig.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "defenses/adabelief.h"
#include "defenses/baselines.h"
#include "defenses/convexified_training.h"
#include "defenses/distillation.h"
#include "defenses/network_pool.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr Smoothing distilling{60};         // the softplus in place of the ReLU
constexpr double ridge_an_image = 5e-4;     // times |S|: the reference's l2
constexpr double temperature_rate = 0.03;   // of its logarithm
constexpr double remembered = 0.99;         // of the average of S, a step
constexpr double initial_deviation = 0.3;   // of pixels, in units of the training images' standard deviation
constexpr double reference_rate = 5e-5;     // of the pool's Adam
constexpr double reference_channels = 128;  // whose weights are smaller by the root of the ratio
constexpr std::int64_t curve_points = 200;  // of the loss curve that is kept as evidence, about

struct Plan {
  std::int64_t per_class, steps, batch, channels, pool, inner_steps, hessian_steps;
  double image_rate;
  bool learn_labels, from_images;
};

Plan plan_of(const OptionValues& options) {
  Plan plan{};
  plan.per_class = per_class(options);
  plan.steps = options.whole("distillation-steps", 1, 10000000);
  plan.batch = options.whole("batch", 1, 1000000);
  plan.channels = options.whole("channels", 1, 4096);
  plan.pool = options.whole("pool", 1, 1000);
  plan.inner_steps = options.whole("inner-steps", 0, 10000);
  plan.hessian_steps = options.whole("hessian-steps", 0, 10000);
  plan.image_rate = options.number("image-rate", 1e-9, 1e3);
  plan.learn_labels = options.one_of("labels", {"learned", "fixed"}) == "learned";
  plan.from_images = options.one_of("start", {"noise", "images"}) == "images";
  return plan;
}

// Images as inputs of the convolutional networks, independent of the audited one: pixels less the mean and over the
// standard deviation of all the training images' pixels, one number each, as in the reference.
class Coordinates {
 public:
  explicit Coordinates(const Undefended& undefended) : space_(undefended.space.to(at::kFloat)) {
    const Tensor pixels = space_.pixels(undefended.images);
    mean_ = pixels.mean(at::kDouble).item<double>();
    const double deviation = std::sqrt((pixels - mean_).square_().mean(at::kDouble).item<double>());
    if (deviation > 0) deviation_ = deviation;
  }
  Tensor of(const Tensor& images) const { return (space_.pixels(images) - mean_).div_(deviation_); }
  Tensor back(const Tensor& inside) const {
    const Tensor pixels = at::clamp(inside * deviation_ + mean_, space_.low, space_.high);
    return space_.inputs(pixels);
  }
  void clamp(Tensor& inside) const {
    inside.clamp_((space_.low - mean_) / deviation_, (space_.high - mean_) / deviation_);
  }

 private:
  ImageSpace space_;
  double mean_ = 0, deviation_ = 1;
};

// Multiplies it down to the size of the other, tensor by tensor, as the reference does. Returns the factor.
double cut_to(Tensor& implicit, const Tensor& direct) {
  const double size = implicit.norm().item<double>(), most = direct.norm().item<double>();
  const double factor = size > most ? most / size : 1;
  if (!std::isfinite(size)) {
    implicit.zero_();
    return 0;
  }
  implicit.mul_(factor);
  return factor;
}

// An exponential average that starts at zero and is corrected for that, so that it is right from the first step on.
class Average {
 public:
  explicit Average(const Tensor& value) : sum_(at::zeros_like(value)) {}
  void add(const Tensor& value) {
    sum_.mul_(remembered).add_(value, 1 - remembered);
    weight_ = remembered * weight_ + 1 - remembered;
  }
  Tensor value() const { return sum_ / weight_; }
  State state() const { return State().set("sum", sum_).set("weight", weight_); }
  void restore(const State& state) {
    sum_ = state.tensor("sum");
    weight_ = state.number("weight");
  }

 private:
  Tensor sum_;
  double weight_ = 0;
};

class Distillation {
 public:
  Distillation(const Undefended& undefended, const Plan& plan, Generator& random)
      : undefended_(undefended),
        plan_(plan),
        random_(random),
        coordinates_(undefended),
        // Several outputs sum to zero, as the outputs of a linearization without its start do.
        shift_(undefended.targets.size(1) == 1 ? 0 : 1 / static_cast<double>(undefended.targets.size(1))),
        network_(undefended.space.shape, plan.channels, undefended.targets.size(1)),
        images_(initial_images()),
        targets_(class_targets(undefended, plan.per_class) - shift_),
        log_temperature_(at::zeros({1}, at::kDouble)),
        image_steps_(images_),
        target_steps_(targets_),
        temperature_steps_(log_temperature_),
        average_images_(images_),
        average_targets_(targets_),
        pool_(network_, plan.pool, reference_rate * std::sqrt(reference_channels / static_cast<double>(plan.channels)),
              random) {}

  SupportSet run(Progress& progress, StateStore& store) {
    restore(store.take());
    progress.stage("rcig: distilling");
    auto step = static_cast<std::int64_t>(losses_.size());
    for (; step < plan_.steps && !progress.out_of_time(); ++step) {
      if (store.due()) store.keep(state());
      const MetaGradient at = take_step();
      progress.step(step + 1, plan_.steps,
                    fmt::format("outer loss {:.4f}, {:.1f} % right", at.loss, 100 * at.accuracy));
    }
    return result(step);
  }

 private:
  Tensor initial_images() {
    const std::int64_t count = plan_.per_class * undefended_.classes();
    Tensor images;
    if (plan_.from_images) {
      images = coordinates_.of(drawn_images());
    } else {
      images = at::randn({count, undefended_.images.size(1)}, random_, at::kFloat).mul_(initial_deviation);
    }
    coordinates_.clamp(images);
    return images;
  }

  // So many training images of each class in turn, at random; again from the first where there are fewer.
  Tensor drawn_images() {
    const Tensor classes = classes_of(undefended_.targets);
    std::vector<Tensor> rows;
    for (std::int64_t label = 0; label < undefended_.classes(); ++label) {
      const Tensor own = at::nonzero(classes == label).squeeze(1);
      if (own.numel() == 0) throw UsageError(fmt::format("start images: there is none of class {}; use noise", label));
      const Tensor order = at::randperm(own.numel(), random_, at::kLong);
      rows.push_back(own.index_select(0, order.index_select(0, at::arange(plan_.per_class) % own.numel())));
    }
    return undefended_.images.index_select(0, at::cat(rows));
  }

  MetaGradient take_step() {
    const std::int64_t count = undefended_.images.size(0);
    const std::int64_t index = at::randint(0, pool_.size(), {1}, random_, at::kLong).item<std::int64_t>();
    const Tensor rows = at::randperm(count, random_, at::kLong).narrow(0, 0, std::min(plan_.batch, count));
    const Tensor batch = coordinates_.of(undefended_.images.index_select(0, rows));

    MetaGradient gradient = meta_gradient(index, batch, undefended_.targets.index_select(0, rows));
    const bool cut = cut_to(gradient.implicit.images, gradient.direct.images) < 1;
    cut_ += cut ? 1 : 0;
    cut_to(gradient.implicit.targets, gradient.direct.targets);

    image_steps_.step(images_, gradient.direct.images.add_(gradient.implicit.images), plan_.image_rate);
    coordinates_.clamp(images_);
    if (plan_.learn_labels) {
      target_steps_.step(targets_, gradient.direct.targets.add_(gradient.implicit.targets), plan_.image_rate);
    }
    temperature_steps_.step(log_temperature_, at::full({1}, gradient.by_log_temperature, at::kDouble),
                            temperature_rate);
    average_images_.add(images_);
    average_targets_.add(targets_);
    losses_.push_back(gradient.loss);
    pool_.train(index, images_, targets_, distilling, random_);
    return gradient;
  }

  MetaGradient meta_gradient(std::int64_t index, const Tensor& batch, const Tensor& batch_targets) {
    const ConvexifiedTraining training(network_, pool_.parameters(index), images_, targets_,
                                       ridge_an_image * static_cast<double>(images_.size(0)), distilling);
    const auto minimum = training.minimum(plan_.inner_steps);
    inner_residual_ = minimum.residual;
    return training.meta_gradient(minimum.value, batch, batch_targets, log_temperature_.item<double>(),
                                  plan_.hessian_steps);
  }

  SupportSet result(std::int64_t steps) const {
    const bool any = steps > 0;
    Tensor targets = (any ? average_targets_.value() : targets_) + shift_;
    if (undefended_.recipe.loss == LossKind::cross_entropy) {
      targets = targets.clamp_min(0);
      targets = targets / targets.sum(1, true).clamp_min(1e-6);
    }
    SupportSet set{coordinates_.back(any ? average_images_.value() : images_), targets};
    const Tensor distances = nearest_of(set.images, undefended_.images).distances;
    set.evidence["images"] = set.images.size(0);
    set.evidence["start"] = plan_.from_images ? "images" : "noise";
    set.evidence["steps"] = steps;
    if (any) {
      set.evidence["loss_initial"] = losses_.front();
      set.evidence["loss_final"] = losses_.back();
      set.evidence["implicit_cut"] = static_cast<double>(cut_) / static_cast<double>(steps);
      set.evidence["inner_residual"] = inner_residual_;
    }
    set.evidence["log_temperature"] = log_temperature_.item<double>();
    auto curve = nlohmann::ordered_json::array();
    const std::int64_t stride = std::max<std::int64_t>(1, (steps + curve_points - 1) / curve_points);
    for (std::int64_t i = 0; i < steps; i += stride) curve.push_back({i, losses_[static_cast<std::size_t>(i)]});
    set.evidence["loss_curve"] = curve;
    set.evidence["nearest_training_image"] = {{"smallest", distances.min().item<double>()},
                                              {"median", distances.median().item<double>()}};
    return set;
  }

  State state() const {
    return State()
        .set("images", images_)
        .set("targets", targets_)
        .set("log_temperature", log_temperature_)
        .set("image_steps", image_steps_.state())
        .set("target_steps", target_steps_.state())
        .set("temperature_steps", temperature_steps_.state())
        .set("average_images", average_images_.state())
        .set("average_targets", average_targets_.state())
        .set("pool", pool_.state())
        .set("losses", losses_)
        .set("cut", cut_)
        .set("inner_residual", inner_residual_)
        .set("random", random_.get_state());
  }

  void restore(const State& kept) {
    if (kept.empty()) return;
    images_ = kept.tensor("images");
    targets_ = kept.tensor("targets");
    log_temperature_ = kept.tensor("log_temperature");
    image_steps_.restore(kept.part("image_steps"));
    target_steps_.restore(kept.part("target_steps"));
    temperature_steps_.restore(kept.part("temperature_steps"));
    average_images_.restore(kept.part("average_images"));
    average_targets_.restore(kept.part("average_targets"));
    pool_.restore(kept.part("pool"));
    losses_ = kept.numbers("losses");
    cut_ = kept.whole("cut");
    inner_residual_ = kept.number("inner_residual");
    random_.set_state(kept.tensor("random"));
  }

  const Undefended& undefended_;
  Plan plan_;
  Generator& random_;
  Coordinates coordinates_;
  double shift_;
  ConvolutionalNetwork network_;
  Tensor images_, targets_;  // S, in the networks' coordinates
  Tensor log_temperature_;
  AdaBelief image_steps_, target_steps_, temperature_steps_;
  Average average_images_, average_targets_;
  NetworkPool pool_;
  std::vector<double> losses_;
  std::int64_t cut_ = 0;
  double inner_residual_ = 0;
};

void check(const Plan&, const Undefended& undefended) {
  const std::size_t dimensions = undefended.space.shape.size();
  if (dimensions == 2 || dimensions == 3) return;
  throw UsageError(
      "defence \"rcig\": distils with a convolutional network, but this data is flat; give pictures, [h, w] or "
      "[h, w, c]");
}

SupportSet distill(const Plan& plan, const Undefended& undefended, Job& job) {
  check(plan, undefended);
  return Distillation(undefended, plan, job.random).run(job.progress, job.state);
}

}  // namespace

Defense rcig_defense() {
  Defense defense;
  defense.name = "rcig";
  defense.description =
      "trains on images distilled through implicit gradients of a convexified convolutional network (pictures only)";
  defense.limits =
      "each image mixes many training images, with no guarantee; distilled for convolutional networks and squared "
      "loss, and others learn less from them";
  defense.options = {
      per_class_option(),
      {"distillation-steps", "steps of the distilled images", "1000", "INTEGER"},
      {"batch", "training images in the outer loss of a step", "256", "INTEGER"},
      {"channels", "of the network's first block; each block has twice as many as the one before", "16", "INTEGER"},
      {"pool", "networks that are distilled with", "10", "INTEGER"},
      {"inner-steps", "conjugate gradients for the convexified training", "5", "INTEGER"},
      {"hessian-steps", "conjugate gradients for the inverse Hessian", "5", "INTEGER"},
      {"image-rate", "AdaBelief's, of images and labels, in standard deviations of the training images' pixels", "0.03",
       "NUMBER"},
      {"labels", "learned, or fixed to those of the classes", "learned", "learned|fixed"},
      {"start", "noise, or images: training images, which may then show through", "noise", "noise|images"}};
  defense.distills = true;
  defense.configure = distilling_by(plan_of, distill, check);
  return defense;
}

}  // namespace afterimage
