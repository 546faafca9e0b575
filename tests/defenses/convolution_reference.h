// RCIG's network and its convexified training with an explicit Jacobian by autograd, to check the closed forms against.
// Shares no code with them.
#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <vector>

namespace reference {

using torch::Tensor;

struct Convolutions {
  std::int64_t height, width, colours, channels, outputs;
  double beta;

  std::int64_t body_size() const {
    return channels * (9 * colours + 1) + 2 * channels * (9 * channels + 1) + 4 * channels * (18 * channels + 1);
  }
  // phi [n, F + 1] of images [n, d] at the blocks' parameters.
  Tensor features(const Tensor& body, const Tensor& images) const {
    const auto pad = [](std::int64_t size) { return (8 - size % 8) % 8; };
    const std::int64_t rows = pad(height), columns = pad(width);
    Tensor h = torch::constant_pad_nd(images.reshape({-1, height, width, colours}).permute({0, 3, 1, 2}),
                                      {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
    std::int64_t at = 0, in = colours, out = channels;
    for (int l = 0; l < 3; ++l) {
      const Tensor weight = body.narrow(0, at, out * in * 9).reshape({out, in, 3, 3});
      const Tensor bias = body.narrow(0, at + out * in * 9, out);
      const Tensor z = torch::conv2d(h, weight, bias, 1, 1);
      h = torch::avg_pool2d(torch::softplus(z, beta, 45), 2);
      at += out * (in * 9 + 1);
      in = out;
      out *= 2;
    }
    return torch::cat({h.flatten(1), torch::ones({h.size(0), 1}, h.options())}, 1);
  }
  Tensor dense(const Tensor& parameters) const {
    return parameters.narrow(0, body_size(), parameters.size(0) - body_size()).reshape({outputs, -1});
  }
  Tensor evaluate(const Tensor& parameters, const Tensor& images) const {
    return torch::matmul(features(parameters.narrow(0, 0, body_size()), images), dense(parameters).t());
  }
  // [n C, P], image-major, recorded.
  Tensor jacobian(const Tensor& parameters, const Tensor& images) const {
    const Tensor body = parameters.narrow(0, 0, body_size()).detach().clone().requires_grad_(true);
    const Tensor f = torch::matmul(features(body, images), dense(parameters).t()).reshape({-1});
    std::vector<Tensor> rows;
    for (std::int64_t i = 0; i < f.numel(); ++i) {
      rows.push_back(torch::autograd::grad({f[i]}, {body}, {}, true, true)[0]);
    }
    return torch::stack(rows);
  }
};

// S of `images` and `targets`, all recorded.
struct Training {
  Tensor phi, jacobian, targets;  // [M, F + 1], [M C, P], [M, C]
  double ridge;

  Training(const Convolutions& network, const Tensor& parameters, const Tensor& images, const Tensor& wanted, double l2)
      : phi(network.features(parameters.narrow(0, 0, network.body_size()), images)),
        jacobian(network.jacobian(parameters, images)),
        targets(wanted),
        ridge(l2) {}
  // Dense weights [F + 1, C] at t, by the primal normal equations.
  Tensor weights(const Tensor& moved) const {
    const Tensor residual = targets - torch::matmul(jacobian, moved).reshape(targets.sizes());
    const Tensor normal = torch::matmul(phi.t(), phi) + ridge * torch::eye(phi.size(1), phi.options());
    return torch::linalg_solve(normal, torch::matmul(phi.t(), residual));
  }
  // 1/2 |y - J t - Phi W|^2 + ridge/2 (|W|^2 + |t|^2).
  Tensor loss(const Tensor& moved) const {
    const Tensor w = weights(moved);
    const Tensor left = targets - torch::matmul(jacobian, moved).reshape(targets.sizes()) - torch::matmul(phi, w);
    return (left.square().sum() + ridge * (w.square().sum() + moved.square().sum())) / 2;
  }
  // The minimum by gradient descent from zero, recorded step by step.
  Tensor descend(int steps) const {
    const std::int64_t count = phi.size(0), outputs = targets.size(1);
    const Tensor inverse = torch::linalg_inv(torch::matmul(phi, phi.t()) + ridge * torch::eye(count, phi.options()));
    const Tensor each = torch::kron(inverse.contiguous(), torch::eye(outputs, phi.options()));  // image-major
    const Tensor gram = torch::matmul(jacobian, jacobian.t());
    const double steepest =
        torch::linalg_eigvalsh(torch::matmul(each, gram) + torch::matmul(gram, each), "L").max().item<double>() / 2 + 1;
    Tensor moved = torch::zeros({jacobian.size(1)}, phi.options());
    const double rate = 1 / steepest;
    for (int step = 0; step < steps; ++step) {
      const Tensor residual = targets.reshape({-1}) - torch::matmul(jacobian, moved);
      moved = moved - rate * (moved - torch::matmul(jacobian.t(), torch::matmul(each, residual)));
    }
    return moved;
  }
};

}  // namespace reference
