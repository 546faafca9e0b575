// Which number a class has, by its name, and what is said of classes and samples.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "models/data/sources.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::int64_t largest_class = 65535;

// Of names that are all whole numbers, these; else nothing.
std::vector<std::int64_t> numbers_of(const std::vector<std::string>& names, const std::string& file) {
  std::vector<std::int64_t> numbers;
  for (const auto& name : names) {
    std::int64_t number = 0;
    const char* end = name.data() + name.size();
    const auto [stopped, error] = std::from_chars(name.data(), end, number);
    const bool too_large = error == std::errc::result_out_of_range;
    if ((error != std::errc() && !too_large) || stopped != end || number < 0) return {};
    if (too_large || number > largest_class) {
      throw InputError(fmt::format("{}: has a class {}; classes go up to {}", file, printable(name), largest_class));
    }
    numbers.push_back(number);
  }
  return numbers;
}

// Whether each class has its own number as its name, with or without zeros in front.
bool are_numbers(const std::vector<std::string>& class_names) {
  for (std::size_t i = 0; i < class_names.size(); ++i) {
    if (!class_names[i].empty() && number_in(class_names[i]) != static_cast<double>(i)) return false;
  }
  return true;
}

std::string quoted_name(const std::vector<std::string>& class_names, std::int64_t label) {
  return fmt::format("\"{}\"", printable(class_names[static_cast<std::size_t>(label)]));
}

std::string counted(std::size_t count, const char* singular, const char* plural) {
  return fmt::format("{} {}", count, count == 1 ? singular : plural);
}

std::string class_note(const LabelledImages& images) {
  const Tensor counts = at::bincount(images.labels);
  const auto count = [&](std::int64_t label) { return counts[label].item<std::int64_t>(); };
  const auto present = classes_in(images.labels);
  const bool named = !are_numbers(images.class_names);
  const auto text_of = [&](std::int64_t label) {
    return named ? fmt::format("{} {}", label, quoted_name(images.class_names, label)) : std::to_string(label);
  };
  const std::string start =
      counted(present.size(), "class", "classes") + (named ? ", numbered in the order of their names" : "");
  if (present.size() > most_listed) {
    const auto [fewest, most] = std::minmax_element(
        present.begin(), present.end(), [&](std::int64_t a, std::int64_t b) { return count(a) < count(b); });
    return fmt::format("{}: {} to {}, of {} to {} samples each", start, text_of(present.front()),
                       text_of(present.back()), count(*fewest), count(*most));
  }
  std::vector<std::string> texts;
  for (const auto label : present) texts.push_back(fmt::format("{} ({})", text_of(label), count(label)));
  return fmt::format("{}: {}", start, fmt::join(texts, ", "));
}

}  // namespace

NamedClasses classes_of(const std::vector<std::string>& names, const std::string& file) {
  NamedClasses classes;
  classes.of = numbers_of(names, file);
  if (classes.of.size() != names.size()) {
    std::map<std::string, std::int64_t> places;
    for (const auto& name : names) places[name] = 0;
    std::int64_t place = 0;
    for (auto& [name, number] : places) number = place++;
    if (place > largest_class + 1) {
      throw InputError(fmt::format("{}: has {} classes; give {} at most", file, place, largest_class + 1));
    }
    classes.of.clear();
    for (const auto& name : names) classes.of.push_back(places[name]);
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto place = static_cast<std::size_t>(classes.of[i]);
    if (classes.names.size() <= place) classes.names.resize(place + 1);
    classes.names[place] = names[i];
  }
  return classes;
}

std::vector<std::int64_t> classes_in(const Tensor& labels) {
  const Tensor present = at::nonzero(at::bincount(labels)).squeeze(1).contiguous();
  return {present.data_ptr<std::int64_t>(), present.data_ptr<std::int64_t>() + present.numel()};
}

std::vector<std::string> count_notes(const LabelledImages& images) {
  const auto shape = images.image_shape();
  std::int64_t inputs = 1;
  for (const auto size : shape) inputs *= size;
  const std::string sizes = shape.size() > 1 ? fmt::format("{} = ", fmt::join(shape, " x ")) : "";
  return {fmt::format("read {} of {}{}", counted(static_cast<std::size_t>(images.size()), "sample", "samples"), sizes,
                      counted(static_cast<std::size_t>(inputs), "input", "inputs")),
          class_note(images)};
}

void match_classes(LabelledImages& control, const std::vector<std::string>& names) {
  if (names.empty() || control.class_names.empty()) return;
  if (are_numbers(names) && are_numbers(control.class_names)) return;
  std::map<std::string, std::int64_t> places;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty()) places.emplace(names[i], static_cast<std::int64_t>(i));
  }
  std::vector<std::int64_t> renumbered(control.class_names.size(), 0);
  for (const auto label : classes_in(control.labels)) {
    const auto& name = control.class_names.at(static_cast<std::size_t>(label));
    const auto found = places.find(name);
    if (found == places.end()) {
      std::vector<std::string> known;
      for (const auto& [other, place] : places) known.push_back(fmt::format("\"{}\"", printable(other)));
      throw InputError(
          fmt::format("{}: has a class \"{}\", which the source of the training images lacks; its classes are {}: "
                      "rename the class, or leave it out",
                      control.source, printable(name), listed(known, most_listed)));
    }
    renumbered[static_cast<std::size_t>(label)] = found->second;
  }
  control.labels = at::tensor(renumbered, at::kLong).index_select(0, control.labels);
  control.class_names = names;
}

}  // namespace afterimage
