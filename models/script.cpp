#include "models/script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include <map>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/library_errors.h"
#include "models/tangent/target.h"

namespace afterimage {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

const std::set<std::string> smooth_relu = {"relu", "relu_"};
const std::set<std::string> with_a_kink = {"hardtanh",    "hardtanh_",  "relu6",       "relu6_",      "leaky_relu",
                                           "leaky_relu_", "prelu",      "rrelu",       "threshold",   "threshold_",
                                           "hardswish",   "hardswish_", "hardsigmoid", "hardsigmoid_"};

Module load(const std::string& file) {
  if (!std::filesystem::exists(file)) throw InputError(file + ": no such file; name a TorchScript archive");
  try {
    Module module = torch::jit::load(file, at::kCPU);
    module.eval();
    return module;
  } catch (const std::exception& error) {
    throw InputError(
        fmt::format("{}: no TorchScript archive that LibTorch {} loads ({}); write one with torch.jit.save", file,
                    TORCH_VERSION, reason_of(error)));
  }
}

// The name of one of LibTorch's own operators; empty for other nodes.
std::string operator_of(const Node& node) {
  return node.kind().is_aten() ? std::string(node.kind().toUnqualString()) : std::string();
}

template <class Visit>
void for_each_node(Block& block, const Visit& visit) {
  for (auto at = block.nodes().begin(); at != block.nodes().end();) {
    Node* node = *at++;
    for (Block* inner : node->blocks()) for_each_node(*inner, visit);
    visit(*node);
  }
}

// Replaces the module's tensors that a graph reads by inputs of the graph.
class Lowering {
 public:
  Lowering(Graph& graph, const Module& module, const std::string& file) : graph_(graph), file_(file) {
    parts_[graph.inputs().at(0)] = {module._ivalue(), ""};
  }

  void run() { run(*graph_.block()); }
  // The tensors that became inputs, by name, in order.
  const std::vector<Parameters::Entry>& tensors() const { return tensors_; }

 private:
  struct Part {
    c10::intrusive_ptr<c10::ivalue::Object> object;
    std::string prefix;
  };

  void run(Block& block) {
    for (auto at = block.nodes().begin(); at != block.nodes().end();) {
      Node* node = *at++;
      if (node->kind() == c10::prim::GetAttr && parts_.count(node->input()) > 0) {
        read(*node);
        continue;
      }
      for (Value* input : node->inputs()) {
        if (parts_.count(input) == 0 || node->kind() == c10::prim::SetAttr) continue;
        throw InputError(fmt::format(
            "{}: its code uses a part of the module in {}, which is not supported; write it with torch.jit.trace",
            file_, printable(node->kind().toQualString())));
      }
      for (Block* inner : node->blocks()) run(*inner);
    }
  }

  void read(Node& node) {
    const Part part = parts_.at(node.input());
    const std::string name = node.s(c10::attr::name);
    const c10::IValue value = part.object->getAttr(name);
    if (value.isModule()) {
      parts_[node.output()] = {value.toObject(), part.prefix + name + "."};
    } else if (value.isTensor() && value.toTensor().defined()) {
      node.output()->replaceAllUsesWith(input_of(value.toTensor(), part.prefix + name));
      node.destroy();
    }
  }

  Value* input_of(const Tensor& tensor, const std::string& name) {
    Value*& input = inputs_[tensor.unsafeGetTensorImpl()];  // one for a tensor that has two names
    if (input == nullptr) {
      input = graph_.addInput();
      input->setType(c10::TensorType::get());
      tensors_.emplace_back(name, tensor);
    }
    return input;
  }

  Graph& graph_;
  const std::string& file_;
  std::map<Value*, Part> parts_;  // values that are the module or a part of it
  std::map<const c10::TensorImpl*, Value*> inputs_;
  std::vector<Parameters::Entry> tensors_;
};

// Converts a graph for float32 to float64: constants, and dtypes that the code names.
void widen(Graph& graph) {
  for_each_node(*graph.block(), [&](Node& node) {
    if (node.kind() == c10::prim::Constant) {
      const auto value = torch::jit::toIValue(node.output());
      if (!value || !value->isTensor() || value->toTensor().scalar_type() != at::kFloat) return;
      node.t_(c10::attr::value, value->toTensor().to(at::kDouble));
      return;
    }
    const auto* schema = node.maybeSchema();
    if (schema == nullptr) return;
    for (std::size_t i = 0; i < node.inputs().size() && i < schema->arguments().size(); ++i) {
      if (schema->arguments()[i].name() != "dtype") continue;
      const auto value = torch::jit::toIValue(node.input(i));
      if (!value || !value->isInt() || value->toInt() != static_cast<std::int64_t>(at::kFloat)) continue;
      const torch::jit::WithInsertPoint before(&node);
      node.replaceInput(i, graph.insertConstant(static_cast<std::int64_t>(at::kDouble)));
    }
  });
}

void smooth(Graph& graph, Value* beta, Value* threshold) {
  for_each_node(*graph.block(), [&](Node& node) {
    if (smooth_relu.count(operator_of(node)) == 0) return;
    const torch::jit::WithInsertPoint before(&node);
    Value* z = node.input(0);
    Value* smoothed = graph.insertNode(graph.create(c10::Symbol::aten("softplus"), {z, beta, threshold}))->output();
    smoothed->setType(c10::TensorType::get());
    if (operator_of(node) == "relu_") z->replaceAllUsesAfterNodeWith(&node, smoothed);
    node.output()->replaceAllUsesWith(smoothed);
    node.destroy();
  });
}

std::string describe_unsmoothed(Graph& graph) {
  bool any_relu = false;
  std::set<std::string> kinks;
  for_each_node(*graph.block(), [&](Node& node) {
    std::string name = operator_of(node);
    any_relu = any_relu || smooth_relu.count(name) > 0;
    if (with_a_kink.count(name) == 0) return;
    if (name.back() == '_') name.pop_back();
    kinks.insert(name);
  });
  if (!kinks.empty()) {
    return fmt::format("{} is not smoothed, only relu is: candidates move less where its slope is zero",
                       fmt::join(kinks, ", "));
  }
  return any_relu ? "" : "there is no relu to smooth";
}

// Values for the arguments of forward other than the images.
std::vector<c10::IValue> defaults_of(const c10::FunctionSchema& schema, const std::string& file) {
  std::vector<c10::IValue> defaults;
  for (std::size_t i = 2; i < schema.arguments().size(); ++i) {
    const auto& value = schema.arguments()[i].default_value();
    if (!value) {
      throw InputError(fmt::format("{}: forward takes \"{}\" besides images; write a module that takes images only",
                                   file, printable(schema.arguments()[i].name())));
    }
    defaults.push_back(*value);
  }
  return defaults;
}

}  // namespace

struct Script::Program {
  torch::jit::Code code;
  c10::IValue self;
  std::vector<c10::IValue> defaults;
  std::vector<std::int64_t> parameter_of;  // for each tensor input the index of its parameter, or -1
  std::vector<Tensor> constants;           // for each other tensor input its value
};

Script::Script(const std::filesystem::path& archive) : file_(archive.string()) {
  const Module module = load(file_);
  const auto forward = module.find_method("forward");
  if (!forward) throw InputError(file_ + ": has no forward method; write a module that takes images");
  const auto& schema = forward->function().getSchema();
  if (schema.arguments().size() < 2) throw InputError(file_ + ": its forward method takes no images");
  const auto defaults = defaults_of(schema, file_);

  std::map<const c10::TensorImpl*, std::int64_t> index;
  std::vector<Parameters::Entry> entries;
  for (const auto& parameter : module.named_parameters()) {
    if (!index.emplace(parameter.value.unsafeGetTensorImpl(), static_cast<std::int64_t>(entries.size())).second) {
      others_.insert(parameter.name);
      continue;
    }
    if (!parameter.value.is_floating_point()) {
      throw InputError(
          fmt::format("{}: parameter \"{}\" is not a floating-point tensor; quantised networks are not supported",
                      file_, printable(parameter.name)));
    }
    entries.emplace_back(parameter.name, parameter.value.detach().to(at::kFloat).contiguous());
  }
  if (entries.empty()) throw InputError(file_ + ": holds no parameters");
  for (const auto& buffer : module.named_buffers()) others_.insert(buffer.name);
  parameters_ = Parameters(std::move(entries));

  const auto inlined = forward->graph()->copy();
  torch::jit::Inline(*inlined);
  unsmoothed_ = describe_unsmoothed(*inlined);
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    for (const bool smoothed : {false, true}) {
      const auto graph = inlined->copy();
      Value* beta = graph->addInput();
      beta->setType(c10::FloatType::get());
      Value* threshold = graph->addInput();
      threshold->setType(c10::FloatType::get());
      if (smoothed) smooth(*graph, beta, threshold);
      if (dtype == at::kDouble) widen(*graph);
      Lowering lowering(*graph, module, file_);
      lowering.run();
      auto program = std::make_unique<Program>();
      for (const auto& [name, tensor] : lowering.tensors()) {
        const auto found = index.find(tensor.unsafeGetTensorImpl());
        program->parameter_of.push_back(found == index.end() ? -1 : found->second);
        program->constants.push_back(tensor.is_floating_point() ? tensor.detach().to(dtype) : tensor);
      }
      program->self = module._ivalue();
      program->defaults = defaults;
      program->code = torch::jit::Code(graph, "forward");
      programs_.push_back(std::move(program));
    }
  }
}

Script::~Script() = default;

const Script::Program& Script::program(at::ScalarType dtype, Smoothing relu) const {
  return *programs_.at((dtype == at::kDouble ? 2 : 0) + (relu.is_relu() ? 0 : 1));
}

Tensor Script::run(const std::vector<Tensor>& parameters, const Tensor& input, Smoothing relu) const {
  const Program& chosen = program(input.scalar_type(), relu);
  torch::jit::Stack stack{chosen.self, input};
  stack.insert(stack.end(), chosen.defaults.begin(), chosen.defaults.end());
  stack.emplace_back(relu.is_relu() ? 1.0 : relu.beta);
  stack.emplace_back(softplus_threshold);
  for (std::size_t i = 0; i < chosen.constants.size(); ++i) {
    const std::int64_t parameter = chosen.parameter_of[i];
    stack.emplace_back(parameter < 0 ? chosen.constants[i] : parameters.at(static_cast<std::size_t>(parameter)));
  }
  try {
    torch::jit::InterpreterState(chosen.code).run(stack);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw InputError(
        fmt::format("{}: its code fails on images [{}]: {}", file_, fmt::join(input.sizes(), ", "), reason_of(error)));
  }
  if (stack.size() != 1 || !stack.front().isTensor()) {
    throw InputError(file_ + ": its code does not return one tensor; write a module that returns the outputs");
  }
  return stack.front().toTensor();
}

}  // namespace afterimage
