#include "models/state.h"

#include <fmt/format.h>

#include "models/foundations/error.h"

namespace afterimage {

State& State::set(const std::string& name, const Tensor& value) {
  if (value.defined()) arrays_.emplace_back(name, to_array(value));
  return *this;
}

State& State::set(const std::string& name, double value) {
  return set(name, at::scalar_tensor(value, at::TensorOptions().dtype(at::kDouble)));
}

State& State::set(const std::string& name, std::int64_t value) {
  return set(name, at::scalar_tensor(value, at::TensorOptions().dtype(at::kLong)));
}

State& State::set(const std::string& name, const std::vector<double>& values) {
  return set(name, at::tensor(values, at::kDouble));
}

State& State::set(const std::string& name, const State& part) {
  for (const auto& [inner, array] : part.arrays_) arrays_.emplace_back(name + "." + inner, array);
  return *this;
}

void State::fail(const std::string& what) const {
  throw InputError(fmt::format("{}: {}; start again without --resume",
                               file_.empty() ? "the state of the interrupted run" : file_, what));
}

Tensor State::tensor(const std::string& name) const {
  const Array* array = find(arrays_, name);
  if (array == nullptr) fail(fmt::format("has no {}", name));
  return to_tensor(*array);
}

double State::number(const std::string& name) const {
  const auto values = numbers(name);
  if (values.size() != 1) fail(fmt::format("{} is not one number", name));
  return values[0];
}

std::int64_t State::whole(const std::string& name) const {
  const auto values = wholes(name);
  if (values.size() != 1) fail(fmt::format("{} is not one number", name));
  return values[0];
}

std::vector<std::int64_t> State::wholes(const std::string& name) const {
  const Tensor values = tensor(name);
  if (values.scalar_type() != at::kLong) fail(fmt::format("{} has to hold whole numbers (int64)", name));
  return {values.data_ptr<std::int64_t>(), values.data_ptr<std::int64_t>() + values.numel()};
}

std::vector<double> State::numbers(const std::string& name) const {
  const Tensor values = tensor(name);
  if (values.scalar_type() != at::kDouble) fail(fmt::format("{} has to hold numbers (float64)", name));
  return to_doubles(values);
}

State State::part(const std::string& name) const {
  NamedArrays inner;
  for (const auto& [full, array] : arrays_) {
    if (full.rfind(name + ".", 0) == 0) inner.emplace_back(full.substr(name.size() + 1), array);
  }
  return State(std::move(inner), file_);
}

}  // namespace afterimage
