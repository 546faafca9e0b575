#include "audit/spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "audit/defense_options.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr const char* spec_schema = "afterimage.compare/1";
constexpr std::uint64_t largest_spec = 16 << 20;

// A place in the spec, which knows its name for error messages.
class Field {
 public:
  Field(const Json& value, std::string file, std::string name)
      : value_(value), file_(std::move(file)), name_(std::move(name)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw UsageError(fmt::format("{}: {} {}", file_, printable(name_), what));
  }
  std::string text() const {
    if (!value_.is_string() || value_.get<std::string>().empty()) fail("has to be a string");
    return value_.get<std::string>();
  }
  std::int64_t whole(std::int64_t low, std::int64_t high) const {
    const bool is_whole = value_.is_number_integer() && value_ >= low && value_ <= high;
    if (!is_whole) fail(fmt::format("has to be a whole number from {} to {}", low, high));
    return value_.get<std::int64_t>();
  }
  std::vector<Field> list() const {
    if (!value_.is_array() || value_.empty()) fail("has to be a list that is not empty");
    std::vector<Field> items;
    for (std::size_t i = 0; i < value_.size(); ++i)
      items.emplace_back(value_[i], file_, fmt::format("{}[{}]", name_, i));
    return items;
  }
  void require_known(const std::set<std::string>& known) const {
    if (!value_.is_object()) fail("has to be an object");
    for (const auto& [key, value] : value_.items()) {
      if (!known.contains(key)) {
        fail(fmt::format("has an unknown field {}; there are {}", printable(key), fmt::join(known, ", ")));
      }
    }
  }
  bool has(const char* key) const { return value_.is_object() && value_.contains(key); }
  Field operator[](const char* key) const {
    static const Json missing = nullptr;
    const auto found = value_.find(key);
    return {found == value_.end() ? missing : *found, file_, name_ == "the spec" ? key : name_ + "." + key};
  }
  // As it would be typed: a number or a string as it is, a list with commas.
  std::string typed() const {
    if (value_.is_string()) return value_.get<std::string>();
    if (value_.is_number() || value_.is_boolean()) return value_.dump();
    if (!value_.is_array()) fail("has to be a number, a string, true or false, or a list of these");
    std::vector<std::string> items;
    for (const auto& item : list()) items.push_back(item.typed());
    return fmt::format("{}", fmt::join(items, ","));
  }
  // Options by name.
  std::map<std::string, std::string> options() const {
    if (!value_.is_object()) fail("has to be an object of options by name");
    std::map<std::string, std::string> all;
    for (const auto& [key, value] : value_.items()) all[key] = (*this)[key.c_str()].typed();
    return all;
  }
  // The same as words of a command line; flags are there or not.
  std::vector<std::string> words() const {
    std::vector<std::string> all;
    for (const auto& [key, text] : options()) {
      if (value_[key].is_boolean()) {
        if (value_[key].get<bool>()) all.push_back("--" + key);
      } else {
        all.push_back("--" + key);
        all.push_back(text);
      }
    }
    return all;
  }

 private:
  const Json& value_;
  std::string file_, name_;
};

void require_not_ours(const std::vector<std::string>& words, const std::set<std::string>& ours, const Field& field) {
  for (const auto& word : words) {
    if (ours.contains(word)) field.fail(fmt::format("may not have {}; the comparison sets it itself", word));
  }
}

ComparedSetting setting_in(const Field& field) {
  field.require_known({"name", "defense", "options"});
  ComparedSetting setting;
  setting.defense = field["defense"].text();
  setting.name = field.has("name") ? field["name"].text() : setting.defense;
  if (field.has("options")) setting.options = field["options"].options();
  try {
    static_cast<void>(checked_defense(setting.defense, setting.options));
  } catch (const UsageError& error) {
    field.fail(fmt::format("is wrong: {}", error.what()));
  }
  return setting;
}

}  // namespace

CompareSpec spec_from_json(const Json& document, const std::string& file) {
  const Field spec(document, file, "the spec");
  spec.require_known({"schema", "data", "task", "samples", "architecture", "train", "audit", "seeds", "settings"});
  if (spec["schema"].text() != spec_schema) spec["schema"].fail(fmt::format("has to be \"{}\"", spec_schema));
  CompareSpec result;
  result.document = document;
  result.data = spec["data"].text();
  result.task = spec["task"].text();
  result.samples = spec["samples"].whole(1, 100000000);
  result.architecture = spec["architecture"].text();
  if (spec.has("train")) result.train = spec["train"].words();
  if (spec.has("audit")) result.audit = spec["audit"].words();
  require_not_ours(result.train,
                   {"--data", "--task", "--samples", "--architecture", "--out", "--defense", "--defense-option"},
                   spec["train"]);
  require_not_ours(
      result.audit,
      {"--out", "--resume", "--dry-run", "--policy", "--initial", "--trained", "--model", "--training-set", "--task"},
      spec["audit"]);
  result.seeds = {0};
  if (spec.has("seeds")) {
    result.seeds.clear();
    for (const auto& seed : spec["seeds"].list()) {
      result.seeds.push_back(seed.whole(0, std::int64_t{1} << 53));
      if (std::count(result.seeds.begin(), result.seeds.end(), result.seeds.back()) > 1) seed.fail("is there twice");
    }
  }
  std::set<std::string> names;
  for (const auto& field : spec["settings"].list()) {
    result.settings.push_back(setting_in(field));
    if (!names.insert(result.settings.back().name).second) {
      field.fail("has the name of another setting; give each its own \"name\"");
    }
  }
  return result;
}

CompareSpec read_spec(const std::filesystem::path& path) {
  const std::string file = path.string();
  try {
    return spec_from_json(parse_json(read_file(path, largest_spec), file), file);
  } catch (const InputError& error) {
    throw UsageError(error.what());
  }
}

}  // namespace afterimage
