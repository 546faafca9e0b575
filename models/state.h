// The state that long work keeps while it runs, so that after an interruption, even by kill -9, it continues from there
// to the same result.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/tensor.h"

namespace afterimage {

// Tensors and numbers by name.
class State {
 public:
  State() = default;
  // `file`: where the state was read from, for messages; empty for a state that was not read.
  explicit State(NamedArrays arrays, std::string file = "") : arrays_(std::move(arrays)), file_(std::move(file)) {}
  const NamedArrays& arrays() const { return arrays_; }
  bool empty() const { return arrays_.empty(); }
  bool has(const std::string& name) const { return find(arrays_, name) != nullptr; }

  // Copies the tensor. An undefined one is left out.
  State& set(const std::string& name, const Tensor& value);
  State& set(const std::string& name, double value);
  State& set(const std::string& name, std::int64_t value);
  State& set(const std::string& name, const std::vector<double>& values);
  State& set(const std::string& name, const State& part);  // under "NAME.", before each of its names
  // Throw InputError, which names the file, where there is no such name, or a value of another kind.
  Tensor tensor(const std::string& name) const;
  double number(const std::string& name) const;
  std::int64_t whole(const std::string& name) const;
  std::vector<double> numbers(const std::string& name) const;
  std::vector<std::int64_t> wholes(const std::string& name) const;
  State part(const std::string& name) const;  // empty where there is none

 private:
  [[noreturn]] void fail(const std::string& what) const;

  NamedArrays arrays_;
  std::string file_;
};

// Where the state of one piece of work is kept.
class StateStore {
 public:
  virtual ~StateStore() = default;
  // The last state of an interrupted run of the same work. Empty where there is none, and from the second call on.
  virtual State take() = 0;
  // Whether it is time to keep the state again. Writing takes time, so not every step does.
  virtual bool due() const = 0;
  virtual void keep(const State& state) = 0;
};

// Keeps nothing.
class NullStore final : public StateStore {
 public:
  State take() override { return {}; }
  bool due() const override { return false; }
  void keep(const State&) override {}
};

// The store of one stage of longer work: its state is kept under its name, beside the state of the whole when the stage
// began.
class StageStore final : public StateStore {
 public:
  // `kept` is the state that an interrupted run kept of this stage, or empty.
  StageStore(StateStore& whole, State around, std::string name, State kept = {})
      : whole_(whole), around_(std::move(around)), name_(std::move(name)), kept_(std::move(kept)) {}
  State take() override { return std::exchange(kept_, {}); }
  bool due() const override { return whole_.due(); }
  void keep(const State& state) override { whole_.keep(State(around_).set(name_, state)); }

 private:
  StateStore& whole_;
  State around_;
  std::string name_;
  State kept_;
};

}  // namespace afterimage
