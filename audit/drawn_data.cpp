#include "audit/drawn_data.h"

#include <fmt/format.h>

#include "audit/context.h"
#include "models/base/error.h"
#include "models/data/split.h"

namespace afterimage {
namespace {

constexpr std::int64_t held_out_images = 2000;  // for the public mean, and as many others for the test accuracy

}  // namespace

DrawnData draw_data(const std::string& data, const Task& task, std::int64_t samples, const std::string& mean_kind,
                    std::int64_t seed) {
  if (samples < 1) throw UsageError(fmt::format("--samples {}: has to be at least 1", samples));
  if (mean_kind != "training" && mean_kind != "public" && mean_kind != "none") {
    throw UsageError(fmt::format("--mean {}: has to be training, public or none", mean_kind));
  }
  const LabelledImages all = load_images(data);
  Generator random = seeded(stage_seed(seed, "training set"));
  const LabelledImages chosen = all.select(draw_training_rows(all, task, samples, random));
  const Tensor pixels = chosen.images.flatten(1);
  const LabelledImages others = draw_control(all, task, pixels, 2 * held_out_images, random);
  const Tensor other_pixels = others.images.flatten(1);
  const std::int64_t half = others.size() / 2, outputs = task.outputs(all.labels);

  DrawnData result;
  result.image_shape = all.image_shape();
  Tensor mean = at::zeros({pixels.size(1)});
  if (mean_kind == "training") mean = pixels.mean(0);
  if (mean_kind == "public") {
    if (half < 1)
      throw UsageError("--mean public: the data has no images outside the training set; use training or none");
    mean = other_pixels.narrow(0, 0, half).mean(0);
  }
  result.training = {pixels - mean, chosen.labels, mean};
  result.targets = task.targets(chosen.labels, outputs);
  result.held_out = other_pixels.narrow(0, half, others.size() - half) - mean;
  result.held_out_targets = task.targets(others.labels.narrow(0, half, others.size() - half), outputs);
  return result;
}

}  // namespace afterimage
