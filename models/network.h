// What every family of networks gives to training, attacks and measurements.
//
// A new family (networks whose graph is interpreted, recurrent cells) is one class behind Network: outputs, gradients
// by inputs and parameters, the derivative along a direction of parameters, and a TangentTarget. Where autograd can
// record the outputs, the class is short: Differentiated (models/tangent/autograd.h) gives all derivatives and
// AutogradTangents the target, as in models/scripted_network.h. make_network_for() (models/architectures.h) and
// ModelDescription::network() (audit/run_directory.h) choose the family by the name of the architecture. Everything
// that needs more, closed forms for fully connected layers, is in DenseNetwork (models/dense_network.h) and not
// required here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace afterimage {

class Network {
 public:
  struct Signature {
    std::string architecture;      // ARCH of the command line, e.g. "mlp:1000,1000"
    std::string parameterization;  // "standard" or "ntk"
    std::int64_t inputs = 0;       // d
    std::int64_t outputs = 0;      // C
  };

  virtual ~Network() = default;

  const Signature& signature() const { return signature_; }
  const std::string& architecture() const { return signature_.architecture; }
  const std::string& parameterization() const { return signature_.parameterization; }
  std::int64_t inputs() const { return signature_.inputs; }
  std::int64_t outputs() const { return signature_.outputs; }

  // New parameters, float32, as training draws them at its start. Null where it is not known how that is done.
  virtual std::optional<Parameters> draw_initial(Generator& random) const = 0;
  // The parameters in this network's own order, which all functions below expect: files may keep any order. Throws
  // InputError, naming the file, where a name or shape is not this network's.
  virtual Parameters arranged(const Parameters& parameters, const std::string& file) const = 0;

  // f(x; theta), images [n, d] -> [n, C]. Here and below images are cast to the dtype of the parameters, float32 or
  // float64, in which results are; ReLUs are not smoothed.
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
  // d/de f(x; theta + e direction) at e = 0, [n, C]: the change of the linearized network.
  virtual Tensor pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const = 0;

  // The element `drift` against the tangent features at `points`, which are parameters like this network's own. The
  // network may be destroyed before the target.
  virtual std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points,
                                                     const Parameters& drift) const = 0;
  // theta_f - theta_0 against the features at theta_0 + t (theta_f - theta_0), one for each t in `along`.
  std::unique_ptr<TangentTarget> tangents(const Parameters& initial, const Parameters& trained,
                                          const std::vector<double>& along) const;
  // The hidden-to-hidden matrices of a family whose rank or sparsity can be set (models/connected_networks.h), each as
  // the network multiplies by it, with its name. None for other families.
  virtual std::vector<std::pair<std::string, Tensor>> hidden_matrices(const Parameters& parameters) const {
    static_cast<void>(parameters);
    return {};
  }
  // One line on activations that a search cannot smooth; empty where all are smoothed.
  virtual std::string unsmoothed() const { return {}; }

 protected:
  explicit Network(Signature signature) : signature_(std::move(signature)) {}

 private:
  Signature signature_;
};

}  // namespace afterimage
