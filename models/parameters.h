// Ordered named tensors: the parameters of a network, or an element of its tangent feature space.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "models/tensor.h"

namespace afterimage {

class Parameters {
 public:
  using Entry = std::pair<std::string, Tensor>;

  Parameters() = default;
  explicit Parameters(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t size() const { return entries_.size(); }
  const Tensor& operator[](std::size_t i) const { return entries_[i].second; }
  // The tensor of that name. Throws std::out_of_range.
  const Tensor& at(const std::string& name) const;
  bool contains(const std::string& name) const;
  // The tensor of that name if it has these sizes, or nullptr.
  const Tensor* find(const std::string& name, at::IntArrayRef sizes) const;

  std::int64_t count() const;  // P, the number of scalars
  // That of the first tensor; parameters of a network have one dtype.
  at::ScalarType dtype() const { return entries_.front().second.scalar_type(); }

  // Entries of the same names, each make(i, tensor) of the entry i that is there.
  template <class Make>
  Parameters each(const Make& make) const {
    std::vector<Entry> made;
    for (std::size_t i = 0; i < entries_.size(); ++i) made.emplace_back(entries_[i].first, make(i, entries_[i].second));
    return Parameters(std::move(made));
  }

  Parameters clone() const;
  Parameters to(at::ScalarType dtype) const;

  // This minus `other`, entry by entry. Both have the same names and shapes (checked by require_same_layout). Throws
  // std::invalid_argument when the number of entries differs.
  Parameters minus(const Parameters& other) const;
  // This plus `factor` times `other`, likewise.
  Parameters plus(const Parameters& other, double factor = 1) const;
  Parameters times(double factor) const;

  double inner(const Parameters& other) const;  // accumulated in float64
  double squared_norm() const { return inner(*this); }

 private:
  std::vector<Entry> entries_;
};

Parameters zeros_like(const Parameters& parameters);

// initial + t (trained - initial) for each t of `along`; at 0 and 1 the two themselves.
std::vector<Parameters> points_between(const Parameters& initial, const Parameters& trained,
                                       const std::vector<double>& along);

// Which entries of a difference of parameters are not exactly zero: those that training changed.
std::vector<bool> moved(const Parameters& drift);

// The initial parameters for all of `trained`: each tensor from `initial` where that has one of the same name and
// shape, else the trained tensor itself.
Parameters completed_start(const Parameters& initial, const Parameters& trained);

// Throws InputError, naming the files and the first tensor that differs in name or shape.
void require_same_layout(const Parameters& initial, const std::string& initial_name, const Parameters& trained,
                         const std::string& trained_name);

// The parameters that have these names and shapes, in this order. Throws InputError, naming `file`, where one is
// missing or of another shape, and where there are others; `network` says whose they have to be.
using NamedShapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;
Parameters arranged_as(const NamedShapes& shapes, const Parameters& parameters, const std::string& file,
                       const std::string& network);

// A safetensors file.
void write_parameters(const std::filesystem::path& path, const Parameters& parameters);

}  // namespace afterimage
