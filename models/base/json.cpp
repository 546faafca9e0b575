#include "models/base/json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "models/base/error.h"
#include "models/base/text.h"

namespace afterimage {

nlohmann::ordered_json parse_json(std::string_view text, const std::string& file, std::size_t most_values) {
  using Json = nlohmann::ordered_json;
  constexpr int deepest = 64;
  constexpr std::size_t most_names = 1 << 14;  // an ordered object takes time that grows with their square
  std::vector<std::set<std::string>> keys;
  std::size_t values = 0;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > deepest) throw InputError(fmt::format("{}: JSON is nested deeper than {} levels", file, deepest));
    const bool ends = event == Json::parse_event_t::object_end || event == Json::parse_event_t::array_end;
    if (!ends && ++values > most_values) {
      throw InputError(fmt::format("{}: JSON has more than {} values and names", file, most_values));
    }
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw InputError(
          fmt::format("{}: JSON has the name \"{}\" twice in one object", file, printable(parsed.get<std::string>())));
    }
    if (!keys.empty() && keys.back().size() > most_names) {
      throw InputError(fmt::format("{}: JSON has an object of more than {} names", file, most_names));
    }
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& error) {
    throw InputError(fmt::format("{}: not valid JSON ({})", file, printable(error.what())));
  }
}

}  // namespace afterimage
