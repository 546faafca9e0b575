#include "models/formats/wrapper_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::array<std::string_view, 4> inside = {"_orig_mod.", "_fsdp_wrapped_module.",
                                                    "_checkpoint_wrapped_module.", "_forward_module."};
constexpr std::array<std::string_view, 2> in_front = {"module.", "_module."};

// Takes off each whole part of a name that is one of `inside`.
void take_off_inside(std::string& name, std::set<std::string_view>& taken) {
  for (const auto part : inside) {
    for (std::size_t at = name.find(part); at != std::string::npos; at = name.find(part, at)) {
      if ((at == 0 || name[at - 1] == '.') && at + part.size() < name.size()) {
        name.erase(at, part.size());
        taken.insert(part);
      } else {
        ++at;
      }
    }
  }
}

}  // namespace

void take_off_wrappers(ArrayFile& content, const std::string& file) {
  std::set<std::string_view> taken;
  for (auto& entry : content.arrays) take_off_inside(entry.first, taken);
  const bool any = std::any_of(content.arrays.begin(), content.arrays.end(),
                               [](const auto& entry) { return is_floating(entry.second.dtype); });
  for (bool again = any; again;) {
    again = false;
    for (const auto prefix : in_front) {
      const auto has = [&](const auto& entry) {
        return entry.first.starts_with(prefix) && entry.first.size() > prefix.size();
      };
      const bool all = std::all_of(content.arrays.begin(), content.arrays.end(),
                                   [&](const auto& entry) { return has(entry) || !is_floating(entry.second.dtype); });
      if (!all) continue;
      for (auto& entry : content.arrays) {
        if (has(entry)) entry.first.erase(0, prefix.size());
      }
      taken.insert(prefix);
      again = true;
    }
  }
  for (const auto part : taken) content.notes.push_back(fmt::format("names without their \"{}\"", part));
  if (taken.empty()) return;
  if (const auto* name =
          repeated_name(content.arrays, [](const auto& entry) -> const std::string& { return entry.first; })) {
    throw InputError(fmt::format(
        "{}: two tensors are called \"{}\" without what wrappers add to names; save the state dict of one network",
        file, printable(*name)));
  }
}

bool keep_part(ArrayFile& content, const std::string& prefix) {
  const auto is_outside = [&](const std::string& name) {
    const auto alike = [](char wanted, char has) { return wanted == has || (wanted == '.' && has == '/'); };
    return name.size() <= prefix.size() || !std::equal(prefix.begin(), prefix.end(), name.begin(), alike);
  };
  const std::size_t all = content.arrays.size();
  const auto outside = std::count_if(content.arrays.begin(), content.arrays.end(),
                                     [&](const auto& entry) { return is_outside(entry.first); });
  if (static_cast<std::size_t>(outside) == all) return false;
  std::erase_if(content.arrays, [&](const auto& entry) { return is_outside(entry.first); });
  std::erase_if(content.passed_over, [&](const auto& other) { return is_outside(other.name); });
  for (auto& entry : content.arrays) entry.first.erase(0, prefix.size());
  for (auto& other : content.passed_over) other.name.erase(0, prefix.size());
  content.notes.push_back(fmt::format("{} of {} tensors: those whose names begin with \"{}\"", content.arrays.size(),
                                      all, printable(prefix)));
  return true;
}

}  // namespace afterimage
