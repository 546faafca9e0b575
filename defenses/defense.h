// The record of a defence, and the one list of all defences.
//
// A defence gets training data and returns a network that gives less of it away. It replaces the data that is trained
// on (distillation: few synthetic images), the way of training (noise, fewer steps), or the weights that are released.
// How well it protects is measured elsewhere: the network that it releases is audited against the original images like
// any other.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/foundations/options.h"
#include "models/image_space.h"
#include "models/job.h"
#include "models/network.h"
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
  Tensor others = {};           // [P, d] float32, images of the task that nobody has to protect, without labels

  std::int64_t classes() const { return targets.size(1) == 1 ? 2 : targets.size(1); }
};

// What is trained on in place of the images.
struct SupportSet {
  Tensor images;   // [M, d] float32, as the network sees them, inside the bounds
  Tensor targets;  // [M, C] float32, any real numbers where labels are learned
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();  // of how it was made
};

// A network that is released in place of the recipe's, trained by cross-entropy.
struct Student {
  std::shared_ptr<const Network> network;  // C S outputs
  Parameters initial;
  std::int64_t subclasses = 1;  // S: outputs for each class, in turn, whose probabilities add up to the class's
};

struct Release {
  Training training;
  SupportSet support;              // its images are undefined where the original ones were trained on
  std::optional<Student> student;  // what `training` is of, where it is not the recipe's network
  std::optional<Recipe> recipe;    // what `training` followed, where that is not the recipe that was asked for
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();  // e.g. the privacy that was spent
};

// The network of the recipe, trained on a support set. Throws as train() does.
Release trained_on(SupportSet support, const Undefended& undefended, Job& job);

// A defence with its settings.
struct ConfiguredDefense {
  // Data to train on. The same input, settings and generator state give the same set, and so does a run that continues
  // from the state that an interrupted one kept. Throws UsageError where the defence does not fit the task, and
  // Interrupted. Null where the defence makes no data (Defense::distills).
  std::function<SupportSet(const Undefended&, Job&)> distill;
  // The network to be released, trained from the same initial parameters. The same input gives the same network, noise
  // for a privacy guarantee aside. Throws as distill() and train() do.
  std::function<Release(const Undefended&, Job&)> release;
  // What release() refuses before any work. Throws UsageError.
  std::function<void(const Undefended&)> check = [](const Undefended&) {};
};

struct Defense {
  std::string name;         // as users type it
  std::string description;  // one line
  std::string limits;       // what it does not protect, or costs; one line
  std::vector<OptionSpec> options = {};
  bool distills = false;  // it makes data to train on
  // From values of `options`. Throws UsageError on one that is wrong.
  std::function<ConfiguredDefense(const OptionValues&)> configure;

  // From options as typed, defaults for the rest.
  ConfiguredDefense configured(const std::map<std::string, std::string>& given = {}) const {
    return configure(OptionValues(options, given));
  }
};

// The factory of a defence that acts on training or on the weights, from functions: `parse` gives its settings,
// `check`, where given, throws UsageError on what does not fit them, before any work.
template <class Settings>
auto releasing_by(Settings (*parse)(const OptionValues&), Release (*release)(const Settings&, const Undefended&, Job&),
                  void (*check)(const Settings&, const Undefended&) = nullptr) {
  return [=](const OptionValues& options) -> ConfiguredDefense {
    const Settings settings = parse(options);
    const auto checked = [=](const Undefended& undefended) {
      if (check != nullptr) check(settings, undefended);
    };
    return {nullptr,
            [=](const Undefended& undefended, Job& job) {
              checked(undefended);
              return release(settings, undefended, job);
            },
            checked};
  };
}

// The factory of a defence that makes data: the network of the recipe is trained on it. `check` as above.
template <class Settings>
auto distilling_by(Settings (*parse)(const OptionValues&),
                   SupportSet (*distill)(const Settings&, const Undefended&, Job&),
                   void (*check)(const Settings&, const Undefended&) = nullptr) {
  return [=](const OptionValues& options) -> ConfiguredDefense {
    const Settings settings = parse(options);
    const auto checked = [=](const Undefended& undefended) {
      if (check != nullptr) check(settings, undefended);
    };
    return {[=](const Undefended& undefended, Job& job) { return distill(settings, undefended, job); },
            [=](const Undefended& undefended, Job& job) {
              checked(undefended);
              return trained_on(distill(settings, undefended, job), undefended, job);
            },
            checked};
  };
}

// "none" first, then by how much they change.
const std::vector<Defense>& all_defenses();
// Throws UsageError that lists the names there are.
const Defense& defense_named(const std::string& name);

}  // namespace afterimage
