// Networks of low-rank, sparse connectivity (models/connectivity.h), through autograd: recurrent ones that read a
// picture row by row, and fully connected ones.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/connectivity.h"
#include "models/recorded_network.h"

namespace afterimage {

// Reads sequences of T steps of m numbers, and gives outputs of the last state:
//   rnn   h' = tanh(z)                                                with z = U x + b + W h in each gate
//   lstm  c' = s(z_f) c + s(z_i) tanh(z_g),  h' = s(z_o) tanh(c')
//   gru   h' = (1 - s(z_u)) n + s(z_u) h,    n = tanh(U_n x + b_n + s(z_r) W_n h)
//   cfc   h' = s(-z_f t) a(z_1) + (1 - s(-z_f t)) a(z_2),  a(z) = 1.7159 tanh(2/3 z), t the time since the last step
//         (Hasani et al. 2022, arXiv 2106.13898, equation 10)
// with s the logistic function; t is 1, or with "time=first" the first of the m numbers, which z has as well. W of each
// gate is of the connectivity; M acts on all but cfc's z_f, the time gate.
// Parameters: "input.weight" [G H, m], "input.bias" [G H], "recurrent.left" [G H, r] and "recurrent.right" [G r, H], or
// "recurrent.weight" [G H, H]; "output.weight" [C, H], "output.bias" [C]. G gates in the order f, i, g, o; u, r, n; f,
// 1, 2. Matrices start from U(-1/sqrt(H), 1/sqrt(H)) as in PyTorch, biases at zero, but lstm's b_f at one.
class RecurrentNetwork final : public RecordedNetwork {
 public:
  enum class Cell { rnn, lstm, gru, cfc };
  struct Shape {
    std::int64_t steps = 0, numbers = 0;  // T, m
  };

  // Throws UsageError on a width outside 1 to 2048, a rank above it, and more than 4096 steps.
  RecurrentNetwork(Signature signature, Cell cell, Shape shape, std::int64_t width, const Connectivity& connectivity);

  static constexpr const char* input_weight = "input.weight";
  const Shape& shape() const { return shape_; }

  std::optional<Parameters> draw_initial(Generator& random) const override;
  Parameters arranged(const Parameters& parameters, const std::string& file) const override;
  Recorded recorded() const override;
  // With these times since the last step, one for each step, in place of its own; they mean nothing but to cfc.
  Recorded recorded_at(const std::vector<double>& times) const;
  // The recurrent matrices of all gates, masked: [G, H, H].
  Tensor recurrent_matrices(const Parameters& parameters) const;
  // Those, as "recurrent f".
  std::vector<std::pair<std::string, Tensor>> hidden_matrices(const Parameters& parameters) const override;

 private:
  // Of images [n, T m] the time since the last step of each, [n or 1, T].
  Recorded recorded_with(std::function<Tensor(const Tensor& images)> times) const;

  Cell cell_;
  Shape shape_;
  std::int64_t width_, gates_;
  Connectivity connectivity_;
  Tensor masks_;  // [G, H, H]
};

// As Mlp (standard parameterization), but that all weights between hidden layers are of the connectivity. Parameters:
// "fc1.weight" [n_1, d], "fc1.bias"; for each further hidden layer "fcK.left" [n_K, r], "fcK.right" [r, n_(K-1)] (or
// "fcK.weight") and "fcK.bias"; the last layer's weight and bias.
class LowRankMlp final : public RecordedNetwork {
 public:
  // Throws UsageError on fewer than two widths, more than 2^24 weights between two of them, and a rank above one.
  LowRankMlp(Signature signature, std::vector<std::int64_t> widths, const Connectivity& connectivity);

  std::optional<Parameters> draw_initial(Generator& random) const override;
  Parameters arranged(const Parameters& parameters, const std::string& file) const override;
  Recorded recorded() const override;
  // Those between hidden layers, masked, as "fc2".
  std::vector<std::pair<std::string, Tensor>> hidden_matrices(const Parameters& parameters) const override;

 private:
  std::vector<std::int64_t> sizes_;  // d, hidden widths, C
  Connectivity connectivity_;
  std::vector<Tensor> masks_;  // between hidden layers, in turn
};

// Whether `architecture` is of a family of this file: rnn:H, lstm:H, gru:H, cfc:H or low-rank-mlp:WIDTH,WIDTH,..., each
// with rank=R, sparsity=S and mask=SEED, cfc with time=first.
bool is_connected_family(const std::string& architecture);
// Whether it has time=first. Throws UsageError on settings that are wrong.
bool reads_times(const std::string& architecture);
// For inputs of `shape`: [h, w] and [h, w, c] are sequences of h steps of w c numbers. Throws UsageError.
std::unique_ptr<Network> make_connected_network(const std::string& architecture, const std::vector<std::int64_t>& shape,
                                                std::int64_t outputs);

}  // namespace afterimage
