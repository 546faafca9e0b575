// A fully connected network of which only the interface is known, like a network from another program.
#pragma once

#include <stdexcept>

#include "models/mlp.h"

namespace afterimage {

// No closed form of its kernel is known, and its features are taken to be formed one by one. `inside` has to outlive
// it.
class Opaque final : public Network {
 public:
  using Cotangents = std::function<Tensor(const Tensor&)>;
  explicit Opaque(const Mlp& inside) : Network({"opaque", "ntk", inside.inputs(), inside.outputs()}), inside_(inside) {}
  std::optional<Parameters> draw_initial(Generator& random) const override { return inside_.draw_initial(random); }
  Parameters arranged(const Parameters& parameters, const std::string&) const override { return parameters; }
  Tensor evaluate(const Parameters& point, const Tensor& images) const override {
    return inside_.evaluate(point, images);
  }
  Sloped input_gradient(const Parameters&, const Tensor&, const Tensor&) const override { throw unused(); }
  Parameters pullback(const Parameters&, const Tensor&, const Cotangents&) const override { throw unused(); }
  Tensor pushforward(const Parameters& point, const Parameters& direction, const Tensor& images) const override {
    return inside_.pushforward(point, direction, images);
  }
  std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points,
                                             const Parameters& drift) const override {
    return inside_.tangents_at(points, drift);
  }

 private:
  static std::logic_error unused() {
    return std::logic_error("a network of which nothing is known does not give this");
  }

  const Mlp& inside_;
};

}  // namespace afterimage
