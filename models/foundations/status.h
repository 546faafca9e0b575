// How an attack ended.
#pragma once

#include <array>
#include <string>
#include <utility>

namespace afterimage {

enum class Status {  // files beside a report hold these as 0, 1, 2, 3
  ok,
  not_applicable,  // the attack does not apply to this network
  inconclusive,    // it ran, but its result says little; the reason is given
  failed,          // it ended with an error
};

// As in reports.
inline constexpr std::array<std::pair<Status, const char*>, 4> status_names = {
    {{Status::ok, "ok"},
     {Status::not_applicable, "not-applicable"},
     {Status::inconclusive, "inconclusive"},
     {Status::failed, "failed"}}};
std::string name_of(Status status);

}  // namespace afterimage
