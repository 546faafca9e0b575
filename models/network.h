// What every family of networks answers, whoever asks: training, attacks, deviation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/parameters.h"
#include "models/tangent/analytic_ntk.h"
#include "models/tangent/features.h"
#include "models/tangent/target.h"

namespace afterimage {

// The first layer as attacks on its weights see it: z = scale * W x + b.
struct FirstLayer {
  bool dense = false;
  std::string weight;  // its parameter's name; empty when there is none that acts on the input
};

class Network {
 public:
  virtual ~Network() = default;

  virtual std::string architecture() const = 0;      // ARCH of the contract, e.g. "mlp:1000,1000"
  virtual std::string parameterization() const = 0;  // "standard" or "ntk"
  virtual std::int64_t inputs() const = 0;           // d
  virtual std::int64_t outputs() const = 0;          // C
  virtual FirstLayer first_layer() const = 0;

  // The tangent kernel of one output that this architecture's tends to as its hidden layers widen, with initial weights
  // as initial() draws them; between outputs it is zero. Null where no closed form is known.
  virtual std::optional<AnalyticNtk> infinite_kernel() const { return std::nullopt; }

  virtual Parameters initial(Generator& random) const = 0;
  // The parameters in this network's own order, which all that follows expects: files keep any. Throws InputError,
  // naming the file, when they are not this network's: a name or shape that differs.
  virtual Parameters arranged(const Parameters& parameters, const std::string& file) const = 0;

  // f(x; theta), images [n, d] -> [n, C], with hard ReLU.
  virtual Tensor evaluate(const Parameters& parameters, const Tensor& images) const = 0;
  // The same outputs, and the gradient of sum_nc cotangents_nc f_c(x_n; theta) by the images, [n, d].
  struct Sloped {
    Tensor outputs, gradient;
  };
  virtual Sloped input_gradient(const Parameters& parameters, const Tensor& images, const Tensor& cotangents) const = 0;
  // sum_jc v_jc phi_c(x_j) with v = cotangents(f(x)) [n, C]: the gradient of a loss whose derivative by the outputs is
  // v.
  virtual Parameters pullback(const Parameters& parameters, const Tensor& images,
                              const std::function<Tensor(const Tensor&)>& cotangents) const = 0;
  // sum_j min(1, clip / |g_j|) g_j with g_j = sum_c v_jc phi_c(x_j), each image's own gradient where v =
  // cotangents(f(x)) [n, C] are the derivatives of its own loss; clip above 0, n may be 0. The norm |g_j| is over the
  // parameters that are `trained` (one each); of the others the sum is zero. Throws UsageError where such norms have no
  // closed form.
  virtual Parameters clipped_pullback(const Parameters& parameters, const Tensor& images,
                                      const std::function<Tensor(const Tensor&)>& cotangents, double clip,
                                      const std::vector<bool>& trained) const;
  // d/de f(x; theta + e direction) at e = 0, [n, C]: the change that the linearized network sees.
  virtual Tensor pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const = 0;

  // Tangent features of images [n, d] at `parameters`, which may both be in a basis.
  virtual std::unique_ptr<TangentFeatures> features_at(const Parameters& parameters, const Tensor& images,
                                                       Smoothing relu) const = 0;
  // Parameters as they act on coordinates in a `basis` [r, d] of orthonormal rows, in place of images.
  virtual Parameters in_basis(const Parameters& parameters, const Tensor& basis) const = 0;

  // The element `drift` against the tangent features at `points`, parameters like this network's own. With a `basis`
  // [r, d] of orthonormal rows, images are given by coordinates [M, r] in it.
  virtual std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points, const Parameters& drift,
                                                     const Tensor& basis = {}) const = 0;
  // The last hidden layer of a fully connected network; none of others.
  struct HiddenLayer {
    std::int64_t neurons = 0, inputs = 0;
    bool is_first = false;  // its inputs are the images themselves
  };
  virtual HiddenLayer last_hidden_layer() const { return {}; }
  // As tangents_at(), of all parameters only those of `neurons` [k] int64 of the last hidden layer: their weights and
  // biases, and the last layer, where it reads them. The squared norm is that part's. Of a step's products, those with
  // the two layers' weights fall to the share of the neurons. Throws std::logic_error where there is no such layer.
  virtual std::unique_ptr<TangentTarget> tangents_of_neurons(const Tensor& neurons,
                                                             const std::vector<Parameters>& points,
                                                             const Parameters& drift, const Tensor& basis = {}) const;
  // Whether features_at() and in_basis() are there: what following training needs. Where not, they throw NotApplicable.
  virtual bool follows_training() const { return true; }
  // One line on activations that a search cannot smooth; empty where all are.
  virtual std::string unsmoothed() const { return {}; }
  // theta_f - theta_0 against the features at theta_0 + t (theta_f - theta_0), one for each t in `along`.
  std::unique_ptr<TangentTarget> tangents(const Parameters& initial, const Parameters& trained,
                                          const std::vector<double>& along, const Tensor& basis = {}) const;
};

}  // namespace afterimage
