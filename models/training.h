// Training: the losses, the recipe, and gradient descent by it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/foundations/progress.h"
#include "models/network.h"

namespace afterimage {

enum class LossKind { squared, logistic, cross_entropy };
enum class Optimizer { sgd, adam };

// "squared", "logistic", "cross-entropy"; throws UsageError that begins with `where` it stood.
LossKind parse_loss(const std::string& text, const std::string& where = "--loss");
Optimizer parse_optimizer(const std::string& text);  // "sgd", "adam"; throws UsageError
std::string name_of(LossKind loss);
std::string name_of(Optimizer optimizer);

// In every error that says so: other options of the same command may do better.
inline constexpr const char* training_diverged = "training diverged";

struct Recipe {
  LossKind loss = LossKind::squared;
  Optimizer optimizer = Optimizer::sgd;
  double learning_rate = 1e-3;
  double momentum = 0.9;    // of SGD
  double weight_decay = 0;  // L2, added to the gradient
  std::int64_t batch = 0;   // images a step; 0: all
  std::int64_t max_steps = 100000;
  double until_loss = 1e-7;   // stop when the loss over all images is below; 0: never
  std::int64_t patience = 0;  // stop when the loss has not fallen by 0.1 % in this many steps; 0: never
  // Divide gradients by the loss over all images once that is below 1. The path is the same, but an exponential loss
  // then falls at a steady rate however small it is (Lyu & Li 2020, loss-based learning rate).
  bool over_loss = false;
  std::vector<std::string> frozen;  // prefixes of names: these parameters keep their initial values
  // Above zero: in each step images are mirrored at random and moved by up to this many pixels (models/augmentation.h);
  // they have `picture_shape`. The reported losses are those of the images themselves.
  std::int64_t augment = 0;
  std::vector<std::int64_t> picture_shape = {};
};

struct Training {
  Parameters trained;
  std::string stopped_by;  // "loss", "steps" or "plateau"
  std::int64_t steps = 0;
  double final_loss = 0;
  std::vector<std::pair<std::int64_t, double>> curve;  // (step, loss over all images), about 200 at most
};

// squared: half the mean over images of ||f - y||^2; logistic: mean log(1 + exp(-y f)), y = +-1; cross-entropy: mean of
// -log softmax(f)_y, y one-hot. `targets` [n, C].
double loss_of(LossKind loss, const Tensor& outputs, const Tensor& targets);

// The derivative of each image's own loss by its outputs, [n, C]: n times that of loss_of().
Tensor cotangents(LossKind loss, const Tensor& outputs, const Tensor& targets);
// Throws UsageError where the loss does not fit this number of outputs.
void require_fit(LossKind loss, std::int64_t outputs);
// The same, and where it does not fit the targets [n, C].
void require_fit(LossKind loss, std::int64_t outputs, const Tensor& targets);

// Which parameters are trained: those whose names begin with none of the prefixes in `frozen`. Throws UsageError on a
// prefix of no name, and where all are frozen.
std::vector<bool> trainable(const Parameters& parameters, const std::vector<std::string>& frozen);

// The share of images with the right class: the sign of one output, or the largest of several.
double accuracy(const Tensor& outputs, const Tensor& targets);

// The probabilities of the classes [n, C], C at least 2, that outputs of a network trained by `loss` stand for. Throws
// UsageError for the squared loss.
Tensor class_probabilities(const Tensor& outputs, LossKind loss);

// Of outputs [n, C S], S in turn for each of C classes, those of the classes: the logarithm of each one's sum of
// exponentials, [n, C]; where targets have one column (C = 2), the second's minus the first's, [n, 1].
Tensor class_outputs(const Tensor& outputs, std::int64_t subclasses, std::int64_t target_columns);
// Derivatives by these, [n, C] or [n, 1], as derivatives by the outputs, [n, C S].
Tensor by_subclasses(const Tensor& outputs, const Tensor& by_classes, std::int64_t subclasses);

// What training lowers: the mean over images of a loss of their outputs.
struct Objective {
  // Of outputs [n, C] of all images.
  std::function<double(const Tensor& outputs)> loss;
  // The derivative by the outputs [m, C] of the mean over the images at `rows` [m] int64; undefined rows stand for all.
  std::function<Tensor(const Tensor& outputs, const Tensor& rows)> cotangents;
};
// The objective of a loss towards targets [n, C].
Objective objective_of(LossKind loss, const Tensor& targets);

// Trains from `initial` on images [n, d]; the recipe's loss is not used. Throws UsageError when training diverges,
// saying at which step.
Training train(const Network& network, const Parameters& initial, const Tensor& images, const Objective& objective,
               const Recipe& recipe, Generator& random, Progress& progress);
// The same towards targets [n, C], by the recipe's loss. Throws UsageError where that does not fit the number of
// outputs or the targets.
Training train(const Network& network, const Parameters& initial, const Tensor& images, const Tensor& targets,
               const Recipe& recipe, Generator& random, Progress& progress);

}  // namespace afterimage
