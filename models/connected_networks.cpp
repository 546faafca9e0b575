#include "models/connected_networks.h"

#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

// So that an architecture in a file takes little time and memory before its weights are read.
constexpr std::int64_t largest_recurrent_width = 2048, most_steps = 4096, most_weights = 1 << 24;
constexpr double kept_of_unit =
    64;  // bytes that autograd keeps for a unit of an image, of some tensors and derivatives

struct Family {
  std::string_view prefix;
  RecurrentNetwork::Cell cell;
  std::string_view gates;  // a letter each
};
constexpr std::array<Family, 4> recurrent_families = {{{"rnn:", RecurrentNetwork::Cell::rnn, "h"},
                                                       {"lstm:", RecurrentNetwork::Cell::lstm, "figo"},
                                                       {"gru:", RecurrentNetwork::Cell::gru, "urn"},
                                                       {"cfc:", RecurrentNetwork::Cell::cfc, "f12"}}};
constexpr std::string_view low_rank_family = "low-rank-mlp:";

std::string_view gates_of(RecurrentNetwork::Cell cell) {
  return std::find_if(recurrent_families.begin(), recurrent_families.end(),
                      [&](const Family& family) { return family.cell == cell; })
      ->gates;
}

void require_rank(const Connectivity& connectivity, std::int64_t width, const std::string& architecture) {
  if (connectivity.rank <= width) return;
  throw UsageError(fmt::format("architecture \"{}\": rank {} is above the width {}; give a smaller rank, or none",
                               printable(architecture), connectivity.rank, width));
}

Tensor uniform(at::IntArrayRef shape, double bound, Generator& random) {
  return at::empty(shape).uniform_(-bound, bound, random);
}

// LeCun's.
Tensor scaled_tanh(const Tensor& z) { return 1.7159 * at::tanh(z * (2.0 / 3)); }

// W of all gates, [G, H, H].
Tensor matrices(const std::vector<Tensor>& factors, const Tensor& masks, std::int64_t gates, std::int64_t width) {
  const Tensor whole = factors.size() == 1
                           ? factors[0].view({gates, width, width})
                           : at::bmm(factors[0].view({gates, width, -1}), factors[1].view({gates, -1, width}));
  return whole * masks.to(whole.scalar_type());
}

// Between two hidden layers: the product of both factors, or `first` alone where the rank is not limited, masked.
Tensor hidden_matrix(const Tensor& first, const Tensor& second, bool low_rank, const Tensor& mask) {
  const Tensor whole = low_rank ? at::mm(first, second) : first;
  return whole * mask.to(whole.scalar_type());
}

}  // namespace

RecurrentNetwork::RecurrentNetwork(Signature signature, Cell cell, Shape shape, std::int64_t width,
                                   const Connectivity& connectivity)
    : RecordedNetwork(std::move(signature)),
      cell_(cell),
      shape_(shape),
      width_(width),
      gates_(static_cast<std::int64_t>(gates_of(cell).size())),
      connectivity_(connectivity) {
  if (width_ < 1 || width_ > largest_recurrent_width) {
    throw UsageError(fmt::format("architecture \"{}\": the width has to be from 1 to {}", printable(architecture()),
                                 largest_recurrent_width));
  }
  if (shape_.steps > most_steps) {
    throw UsageError(fmt::format("architecture \"{}\": reads {} rows of a picture, and {} is the most",
                                 printable(architecture()), shape_.steps, most_steps));
  }
  require_rank(connectivity_, width_, architecture());
  std::vector<Tensor> masks;
  for (std::int64_t gate = 0; gate < gates_; ++gate) {
    const bool time_gate = cell_ == Cell::cfc && gate == 0;
    masks.push_back(time_gate ? at::ones({width_, width_}) : mask_of(connectivity_, gate, width_, width_));
  }
  masks_ = at::stack(masks);
  set_chunk(kept_of_unit * static_cast<double>(shape_.steps * gates_ * width_));
}

std::optional<Parameters> RecurrentNetwork::draw_initial(Generator& random) const {
  const double bound = 1 / std::sqrt(static_cast<double>(width_));
  std::vector<Parameters::Entry> entries;
  entries.emplace_back(input_weight, uniform({gates_ * width_, shape_.numbers}, bound, random));
  Tensor bias = at::zeros({gates_ * width_});
  if (cell_ == Cell::lstm) bias.narrow(0, 0, width_).fill_(1);
  entries.emplace_back("input.bias", bias);
  std::vector<Tensor> whole, left, right;
  for (std::int64_t gate = 0; gate < gates_; ++gate) {
    whole.push_back(uniform({width_, width_}, bound, random));
    if (!connectivity_.is_low_rank()) continue;
    const auto [first, second] = factors_of(whole.back(), connectivity_.rank);
    left.push_back(first);
    right.push_back(second);
  }
  if (connectivity_.is_low_rank()) {
    entries.emplace_back("recurrent.left", at::cat(left));
    entries.emplace_back("recurrent.right", at::cat(right));
  } else {
    entries.emplace_back("recurrent.weight", at::cat(whole));
  }
  entries.emplace_back("output.weight", uniform({outputs(), width_}, bound, random));
  entries.emplace_back("output.bias", at::zeros({outputs()}));
  return Parameters(std::move(entries));
}

Parameters RecurrentNetwork::arranged(const Parameters& parameters, const std::string& file) const {
  NamedShapes shapes = {{input_weight, {gates_ * width_, shape_.numbers}}, {"input.bias", {gates_ * width_}}};
  if (connectivity_.is_low_rank()) {
    shapes.push_back({"recurrent.left", {gates_ * width_, connectivity_.rank}});
    shapes.push_back({"recurrent.right", {gates_ * connectivity_.rank, width_}});
  } else {
    shapes.push_back({"recurrent.weight", {gates_ * width_, width_}});
  }
  shapes.push_back({"output.weight", {outputs(), width_}});
  shapes.push_back({"output.bias", {outputs()}});
  return arranged_as(shapes, parameters, file, architecture());
}

Tensor RecurrentNetwork::recurrent_matrices(const Parameters& parameters) const {
  std::vector<Tensor> factors{parameters[2]};
  if (connectivity_.is_low_rank()) factors.push_back(parameters[3]);
  return matrices(factors, masks_, gates_, width_);
}

std::vector<std::pair<std::string, Tensor>> RecurrentNetwork::hidden_matrices(const Parameters& parameters) const {
  const std::string_view names = gates_of(cell_);
  const Tensor all = recurrent_matrices(parameters);
  std::vector<std::pair<std::string, Tensor>> named;
  for (std::int64_t gate = 0; gate < gates_; ++gate) {
    named.emplace_back(fmt::format("recurrent {}", names[static_cast<std::size_t>(gate)]), all[gate]);
  }
  return named;
}

Recorded RecurrentNetwork::recorded_at(const std::vector<double>& times) const {
  if (static_cast<std::int64_t>(times.size()) != shape_.steps) {
    throw std::invalid_argument("a time is needed for each step");
  }
  const Tensor same = at::tensor(times, at::kDouble).unsqueeze(0);
  return recorded_with([same](const Tensor& images) { return same.to(images.scalar_type()); });
}

Recorded RecurrentNetwork::recorded() const {
  if (!connectivity_.timed) return recorded_at(std::vector<double>(static_cast<std::size_t>(shape_.steps), 1));
  return recorded_with([shape = shape_](const Tensor& images) {
    return images.reshape({images.size(0), shape.steps, shape.numbers}).select(2, 0);
  });
}

Recorded RecurrentNetwork::recorded_with(std::function<Tensor(const Tensor&)> times_of) const {
  return [cell = cell_, shape = shape_, width = width_, gates = gates_, masks = masks_, times_of = std::move(times_of),
          factors = connectivity_.is_low_rank() ? 2 : 1](const std::vector<Tensor>& parameters, const Tensor& images,
                                                         Smoothing) {
    const std::int64_t count = images.size(0);
    const Tensor times = times_of(images);
    const Tensor steps = images.reshape({count * shape.steps, shape.numbers});
    const Tensor inputs = at::addmm(parameters[1], steps, parameters[0].t()).view({count, shape.steps, gates, width});
    const Tensor recurrent = matrices({parameters.begin() + 2, parameters.begin() + 2 + factors}, masks, gates, width);
    const Tensor all = recurrent.reshape({gates * width, width}).t();
    Tensor state = at::zeros({count, width}, images.options()), memory = state;
    for (std::int64_t step = 0; step < shape.steps; ++step) {
      const Tensor input = inputs.select(1, step), past = at::mm(state, all).view({count, gates, width});
      const auto gate = [&](std::int64_t index) { return input.select(1, index) + past.select(1, index); };
      switch (cell) {
        case Cell::rnn:
          state = at::tanh(gate(0));
          break;
        case Cell::lstm:
          memory = at::sigmoid(gate(0)) * memory + at::sigmoid(gate(1)) * at::tanh(gate(2));
          state = at::sigmoid(gate(3)) * at::tanh(memory);
          break;
        case Cell::gru: {
          const Tensor update = at::sigmoid(gate(0));
          const Tensor fresh = at::tanh(input.select(1, 2) + at::sigmoid(gate(1)) * past.select(1, 2));
          state = (1 - update) * fresh + update * state;
          break;
        }
        case Cell::cfc: {
          const Tensor share = at::sigmoid(-times.narrow(1, step, 1) * gate(0));
          state = share * scaled_tanh(gate(1)) + (1 - share) * scaled_tanh(gate(2));
          break;
        }
      }
    }
    const std::size_t last = parameters.size() - 2;
    return at::addmm(parameters[last + 1], state, parameters[last].t());
  };
}

LowRankMlp::LowRankMlp(Signature signature, std::vector<std::int64_t> widths, const Connectivity& connectivity)
    : RecordedNetwork(std::move(signature)), sizes_(std::move(widths)), connectivity_(connectivity) {
  if (sizes_.size() < 2) {
    throw UsageError(fmt::format("architecture \"{}\": has no weights between hidden layers; give two widths or more",
                                 printable(architecture())));
  }
  for (const auto width : sizes_) require_rank(connectivity_, width, architecture());
  sizes_.insert(sizes_.begin(), inputs());
  sizes_.push_back(outputs());
  for (std::size_t layer = 1; layer + 2 < sizes_.size(); ++layer) {
    if (sizes_[layer + 1] * sizes_[layer] > most_weights) {
      throw UsageError(
          fmt::format("architecture \"{}\": has more than {} weights between two layers; give smaller widths",
                      printable(architecture()), most_weights));
    }
    masks_.push_back(mask_of(connectivity_, static_cast<std::int64_t>(layer), sizes_[layer + 1], sizes_[layer]));
  }
  set_chunk(kept_of_unit * static_cast<double>(std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{0})));
}

std::optional<Parameters> LowRankMlp::draw_initial(Generator& random) const {
  std::vector<Parameters::Entry> entries;
  for (std::size_t layer = 0; layer + 1 < sizes_.size(); ++layer) {
    const std::string name = fmt::format("fc{}.", layer + 1);
    const Tensor weight = at::randn({sizes_[layer + 1], sizes_[layer]}, random, at::kFloat)
                              .div_(std::sqrt(static_cast<double>(sizes_[layer])));
    const bool hidden = layer > 0 && layer + 2 < sizes_.size();
    if (hidden && connectivity_.is_low_rank()) {
      const auto [left, right] = factors_of(weight, connectivity_.rank);
      entries.emplace_back(name + "left", left);
      entries.emplace_back(name + "right", right);
    } else {
      entries.emplace_back(name + "weight", weight);
    }
    entries.emplace_back(name + "bias", at::zeros({sizes_[layer + 1]}));
  }
  return Parameters(std::move(entries));
}

Parameters LowRankMlp::arranged(const Parameters& parameters, const std::string& file) const {
  NamedShapes shapes;
  for (std::size_t layer = 0; layer + 1 < sizes_.size(); ++layer) {
    const std::string name = fmt::format("fc{}.", layer + 1);
    const bool hidden = layer > 0 && layer + 2 < sizes_.size();
    if (hidden && connectivity_.is_low_rank()) {
      shapes.push_back({name + "left", {sizes_[layer + 1], connectivity_.rank}});
      shapes.push_back({name + "right", {connectivity_.rank, sizes_[layer]}});
    } else {
      shapes.push_back({name + "weight", {sizes_[layer + 1], sizes_[layer]}});
    }
    shapes.push_back({name + "bias", {sizes_[layer + 1]}});
  }
  return arranged_as(shapes, parameters, file, architecture());
}

std::vector<std::pair<std::string, Tensor>> LowRankMlp::hidden_matrices(const Parameters& parameters) const {
  std::vector<std::pair<std::string, Tensor>> named;
  const bool low_rank = connectivity_.is_low_rank();
  std::size_t next = 2;
  for (std::size_t layer = 0; layer < masks_.size(); ++layer) {
    named.emplace_back(fmt::format("fc{}", layer + 2),
                       hidden_matrix(parameters[next], parameters[next + 1], low_rank, masks_[layer]));
    next += low_rank ? 3 : 2;
  }
  return named;
}

Recorded LowRankMlp::recorded() const {
  return [masks = masks_, low_rank = connectivity_.is_low_rank()](const std::vector<Tensor>& parameters,
                                                                  const Tensor& images, Smoothing relu) {
    Tensor state = activated(at::addmm(parameters[1], images, parameters[0].t()), relu);
    std::size_t next = 2;
    for (const auto& mask : masks) {
      const Tensor matrix = hidden_matrix(parameters[next], parameters[next + 1], low_rank, mask);
      next += low_rank ? 2 : 1;
      state = activated(at::addmm(parameters[next], state, matrix.t()), relu);
      ++next;
    }
    return at::addmm(parameters[next + 1], state, parameters[next].t());
  };
}

bool is_connected_family(const std::string& architecture) {
  return architecture.starts_with(low_rank_family) ||
         std::any_of(recurrent_families.begin(), recurrent_families.end(),
                     [&](const Family& family) { return architecture.starts_with(family.prefix); });
}

bool reads_times(const std::string& architecture) {
  if (!is_connected_family(architecture)) return false;
  std::string sizes = architecture.substr(architecture.find(':') + 1);
  return take_connectivity(architecture, sizes).timed;
}

std::unique_ptr<Network> make_connected_network(const std::string& architecture, const std::vector<std::int64_t>& shape,
                                                std::int64_t outputs) {
  Network::Signature signature{architecture, "standard", c10::multiply_integers(shape), outputs};
  std::string sizes = architecture.substr(architecture.find(':') + 1);
  const Connectivity connectivity = take_connectivity(architecture, sizes);
  const std::vector<std::int64_t> widths = parse_widths(architecture, sizes);
  if (connectivity.timed && !architecture.starts_with("cfc:")) {
    throw UsageError(
        fmt::format("architecture \"{}\": time=first is of cfc alone; leave it out", printable(architecture)));
  }
  if (architecture.starts_with(low_rank_family)) {
    return std::make_unique<LowRankMlp>(std::move(signature), widths, connectivity);
  }
  if (widths.size() != 1) {
    throw UsageError(
        fmt::format("architecture \"{}\": has one layer of one width, as in cfc:64", printable(architecture)));
  }
  if (shape.size() < 2) {
    throw UsageError(fmt::format(
        "architecture \"{}\": reads pictures row by row, or sequences (csv: with sequence= and time=), and inputs of "
        "shape [{}] have no rows",
        printable(architecture), fmt::join(shape, ", ")));
  }
  const auto* family = std::find_if(recurrent_families.begin(), recurrent_families.end(),
                                    [&](const Family& one) { return architecture.starts_with(one.prefix); });
  const RecurrentNetwork::Shape steps{shape[0], c10::multiply_integers(shape) / shape[0]};
  return std::make_unique<RecurrentNetwork>(std::move(signature), family->cell, steps, widths[0], connectivity);
}

}  // namespace afterimage
