#include "audit/spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "audit/defense_options.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json_reader.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr const char* spec_schema = "afterimage.compare/1";
constexpr std::uint64_t largest_spec = 16 << 20;

std::string text_in(const json::Reader& in) {
  if (!in.raw().is_string() || in.text().empty()) in.fail("has to be a string that is not empty");
  return in.text();
}

json::Reader::List filled_list(const json::Reader& in) {
  if (!in.raw().is_array() || in.raw().empty()) in.fail("has to be a list that is not empty");
  return in.list();
}

// The value as typed on a command line: a list has commas.
std::string typed(const json::Reader& in) {
  const Json& value = in.raw();
  if (value.is_string()) return in.text();
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (!value.is_array()) in.fail("has to be a number, a string, true or false, or a list of these");
  std::vector<std::string> items;
  for (const auto& item : filled_list(in)) items.push_back(typed(item));
  return fmt::format("{}", fmt::join(items, ","));
}

void require_object(const json::Reader& in) {
  if (!in.raw().is_object()) in.fail("has to be an object of options by name");
}

std::map<std::string, std::string> options_in(const json::Reader& in) {
  require_object(in);
  std::map<std::string, std::string> all;
  for (const auto& [key, value] : in.items()) all[key] = typed(value);
  return all;
}

// Options as words of a command line; flags are there or not.
std::vector<std::string> words_in(const json::Reader& in) {
  std::vector<std::string> all;
  for (const auto& [key, text] : options_in(in)) {
    const Json& value = in.raw()[key];
    if (value.is_boolean() && !value.get<bool>()) continue;
    all.push_back("--" + key);
    if (!value.is_boolean()) all.push_back(text);
  }
  return all;
}

// Whatever the values are.
void require_none_of(const std::set<std::string>& set_by_compare, const json::Reader& in) {
  require_object(in);
  for (const auto& [key, value] : in.items()) {
    if (set_by_compare.contains(key)) in.fail(fmt::format("may not have --{}; the comparison sets it itself", key));
  }
}

void require_free_to_train(const json::Reader& in) {
  require_none_of(
      {"data", "task", "tasks", "samples", "architecture", "out", "resume", "dry-run", "defense", "defense-option"},
      in);
}

// `common` are the options of `train` of all settings, null where there are none.
ComparedSetting setting_in(const json::Reader& in, const Json& common, const std::string& file) {
  in.require_keys_among({"name", "defense", "options", "train"});
  ComparedSetting setting;
  setting.defense = text_in(in["defense"]);
  const auto name = in.find("name"), options = in.find("options");
  setting.name = name ? text_in(*name) : setting.defense;
  if (options) setting.options = options_in(*options);
  Json merged = common.is_object() ? common : Json::object();
  if (const auto own = in.find("train")) {
    require_free_to_train(*own);
    setting.own_train = own->raw();
    merged.merge_patch(setting.own_train);
  }
  setting.train = words_in(json::Reader(merged, file, fmt::format("train of \"{}\"", printable(setting.name))));
  try {
    static_cast<void>(choose_defense(setting.defense, setting.options));
  } catch (const UsageError& error) {
    in.fail(fmt::format("is wrong: {}", error.what()));
  }
  return setting;
}

std::vector<std::int64_t> seeds_in(const json::Reader& in) {
  constexpr std::int64_t largest_seed = std::int64_t{1} << 53;
  std::vector<std::int64_t> seeds;
  for (const auto& item : filled_list(in)) {
    seeds.push_back(item.whole(0, largest_seed));
    if (std::count(seeds.begin(), seeds.end(), seeds.back()) > 1) item.fail("is there twice; name each seed once");
  }
  return seeds;
}

// Throws InputError.
CompareSpec spec_in(const json::Reader& in, const std::string& file) {
  constexpr std::int64_t most_samples = 100'000'000;
  in.require_keys_among({"schema", "data", "task", "samples", "architecture", "train", "audit", "seeds", "settings"});
  if (in["schema"].raw() != spec_schema) in["schema"].fail(fmt::format("has to be \"{}\"", spec_schema));
  CompareSpec spec;
  spec.document = in.raw();
  spec.data = text_in(in["data"]);
  spec.task = text_in(in["task"]);
  spec.samples = in["samples"].whole(1, most_samples);
  spec.architecture = text_in(in["architecture"]);
  const auto train = in.find("train");
  if (train) {
    require_free_to_train(*train);
    static_cast<void>(words_in(*train));
  }
  if (const auto audit = in.find("audit")) {
    require_none_of({"out", "resume", "dry-run", "policy", "initial", "trained", "model", "training-set", "task"},
                    *audit);
    spec.audit = words_in(*audit);
  }
  const auto seeds = in.find("seeds");
  spec.seeds = seeds ? seeds_in(*seeds) : std::vector<std::int64_t>{0};
  std::set<std::string> names;
  for (const auto& setting : filled_list(in["settings"])) {
    spec.settings.push_back(setting_in(setting, train ? train->raw() : Json(), file));
    if (!names.insert(spec.settings.back().name).second) {
      setting.fail("has the name of another setting; give each its own \"name\"");
    }
  }
  return spec;
}

}  // namespace

CompareSpec spec_from_json(const Json& document, const std::string& file) {
  return input_as_usage([&] { return spec_in(json::Reader(document, file, "the spec"), file); });
}

CompareSpec read_spec(const std::filesystem::path& path) {
  const std::string file = path.string();
  return input_as_usage([&] { return spec_from_json(parse_json(read_file(path, largest_spec), file), file); });
}

}  // namespace afterimage
