// Training data in, a network that gives less of it away out; and the one list of all defences.
//
// A defence replaces the data that is trained on (distillation: few synthetic images), the way it is trained on (noise,
// fewer steps), or the weights that are released. What it is worth is not its own to say: the network that it releases
// is audited against the original images like any other.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/foundations/options.h"
#include "models/foundations/progress.h"
#include "models/image_space.h"
#include "models/network.h"
#include "models/state.h"
#include "models/training.h"

namespace afterimage {

// What would be released without a defence: this network, trained from `initial` on these images by this recipe.
struct Undefended {
  std::shared_ptr<const Network> network;
  Parameters initial;
  Tensor images;   // [N, d] float32, as the network sees them
  Tensor targets;  // [N, C] float32: +-1 where C is 1, else one-hot
  ImageSpace space;
  Recipe recipe;
  bool mean_of_images = false;  // whether `space.mean` may move with each of these images

  std::int64_t classes() const { return targets.size(1) == 1 ? 2 : targets.size(1); }
};

// What is trained on in place of the images.
struct SupportSet {
  Tensor images;   // [M, d] float32, as the network sees them, inside the bounds
  Tensor targets;  // [M, C] float32, any real numbers where labels are learned
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();  // of how it was made
};

struct Release {
  Training training;
  SupportSet support;  // its images are undefined where the original ones were trained on
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();  // e.g. the privacy that was spent
};

class Defense {
 public:
  virtual ~Defense() = default;
  virtual std::string name() const = 0;         // as users type it
  virtual std::string description() const = 0;  // one line
  virtual std::string limits() const = 0;       // what it does not protect, or costs; one line
  virtual std::vector<OptionSpec> options() const = 0;
  // Whether it makes data to train on, which distill() gives.
  virtual bool distills() const { return false; }
  // Whether the labels of that data are learned as any real numbers, which are no probabilities.
  virtual bool learns_any_labels(const OptionValues&) const { return false; }
  // Throws UsageError on an option that is wrong, before any work is done.
  virtual void validate(const OptionValues&) const {}
  // The same input, options and generator state give the same set (noise for a privacy guarantee aside), and so does
  // going on from what an interrupted run of the same kept. Throws UsageError where the defence makes no data or does
  // not fit the task, Interrupted.
  virtual SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random,
                             Progress& progress, StateStore& store) const;
  // The network to be released, trained from the same initial parameters; by default by the same recipe on what
  // distill() makes. Throws as distill() and train() do, and UsageError before any work on a loss that takes
  // probabilities where labels are learned.
  virtual Release release(const Undefended& undefended, const OptionValues& options, Generator& random,
                          Progress& progress, StateStore& store) const;
};

// "none" first, then by how much they change.
const std::vector<std::unique_ptr<Defense>>& all_defenses();
// Throws UsageError that lists the names there are.
const Defense& defense_named(const std::string& name);

}  // namespace afterimage
