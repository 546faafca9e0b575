// Generalized variational continual learning (Loo, Swaroop & Turner, ICLR 2021, arXiv 2011.12328): tasks are learned
// one after another by a network with shared hidden layers and a last layer (head) of each task's own. The belief about
// the shared weights after a task, a diagonal Gaussian, is the prior of the next. beta = lambda = 1 is variational
// continual learning (VCL); the limit beta -> 0 is online elastic weight consolidation (EWC), which beta = 0 stands
// for.
#pragma once

#include <cstdint>
#include <vector>

#include "defenses/variational.h"
#include "models/foundations/progress.h"
#include "models/state.h"

namespace afterimage {

struct GvclSettings {
  double beta = 0.1;                     // tempers the divergence; 0: its limit, EWC
  double lambda = 1;                     // how strongly a later task is held to the belief of those before
  bool film = false;                     // scale and shift of each hidden neuron, of each task's own, without a prior
  std::int64_t samples = 3;              // draws of each layer's outputs a step
  std::int64_t steps = 3000, batch = 0;  // of each task; batch 0: all images
  double learning_rate = 1e-3;           // of Adam
  double prior_variance = 1;
  double start_log_variance = -7;  // of each task's training, at most; the belief before may be wider
  bool means_anew = false;         // the shared means of a later task start from a new draw, not from the belief before
};

class ContinualLearner {
 public:
  // `initial`: of the network, head included; `loss`: the negative logarithm of the likelihood (squared: of a Gaussian
  // of variance 1). The network has to outlive the learner.
  ContinualLearner(const Mlp& network, Parameters initial, LossKind loss, const GvclSettings& settings);

  // Learns the next task, images [n, d] and targets [n, C]. The first task's head starts as `initial` has it, that of
  // another from a draw. Throws UsageError where training diverges, Interrupted.
  void learn(const Tensor& images, const Tensor& targets, Generator& random, Progress& progress);
  std::int64_t tasks() const { return static_cast<std::int64_t>(own_.size()); }

  // The weights of a network for task `task`, from 0, as learned so far: the shared belief with that task's FiLM and
  // head. The variance has no entries where beta is 0.
  DiagonalGaussian weights(std::int64_t task) const;
  // Those that training of `task` began with, before FiLM, which then changes nothing.
  const Parameters& before(std::int64_t task) const { return own_[static_cast<std::size_t>(task)].before; }
  // Of the last task: the loss at the means now and then, (step, loss over all its images).
  const std::vector<std::pair<std::int64_t, double>>& curve() const { return curve_; }

  State state() const;
  void restore(const State& state);

 private:
  // What belongs to one task.
  struct Own {
    DiagonalGaussian head;
    Film film;
    Parameters before;
  };
  DiagonalGaussian assembled(const DiagonalGaussian& shared, const Own& own) const;

  const Mlp& network_;
  LossKind loss_;
  GvclSettings settings_;
  Parameters initial_;
  DiagonalGaussian shared_;  // of the hidden layers; where beta is 0, no variance
  Parameters curvature_;     // where beta is 0: the sum of the tasks' Gauss-Newton diagonals
  std::vector<Own> own_;
  std::vector<std::pair<std::int64_t, double>> curve_;
};

// The probabilities of the classes [n, C], C at least 2, averaged over `draws` networks from these weights. Throws
// UsageError where the loss is squared, whose outputs are no probabilities.
Tensor averaged_predictions(const Mlp& network, const DiagonalGaussian& weights, const Tensor& images, LossKind loss,
                            std::int64_t draws, Generator& random);

}  // namespace afterimage
