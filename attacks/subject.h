// What an attacker has: what was released of the network, and how its inputs are made of pixels.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "attacks/scoring/claim.h"
#include "models/dense_network.h"
#include "models/image_space.h"
#include "models/tangent/learned_function.h"
#include "models/training.h"

namespace afterimage {

// A network with its weights.
struct TrainedNetwork {
  std::shared_ptr<const Network> network;
  Parameters initial, trained;  // `initial` is empty where the weights before training are not known

  bool knows_initial() const { return initial.size() > 0; }
  // Whether some parameter is the same before and after training: it was frozen, or its start is not known and taken to
  // be its end.
  bool some_unchanged() const;
  double relative_change() const;  // ||theta_f - theta_0|| / ||theta_f||
  // Why an attack in float32 sees little of training: its change is so small a part of the parameters. Empty where it
  // sees enough, or the weights before training are not known.
  std::string hidden_by_float32() const;
  // The network as a dense one; null where it is none.
  const DenseNetwork* dense() const { return as_dense(*network); }
};

// A network of infinite width, which has no weights: what it learned, as a function that can be evaluated anywhere, and
// its kernel.
struct InfiniteNetwork {
  std::shared_ptr<const LearnedFunction> learned;
  AnalyticNtk kernel;
};

struct Subject {
  std::variant<TrainedNetwork, InfiniteNetwork> released;
  ImageSpace space;
  std::optional<LossKind> loss;  // that it was trained on, where the model's description says so
  // Records of the same source that nobody trained on and that are not scored, which an attacker may have drawn too;
  // without images where there are none.
  Candidates background = {};
  // Weights of the same network, trained in the same way on records of which none is scored.
  std::vector<Parameters> references = {};

  // Null where the other of the two was released.
  const TrainedNetwork* trained_network() const { return std::get_if<TrainedNetwork>(&released); }
  const InfiniteNetwork* infinite_network() const { return std::get_if<InfiniteNetwork>(&released); }
};

}  // namespace afterimage
