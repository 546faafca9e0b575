#include "audit/report_file.h"

#include "models/base/files.h"
#include "models/base/json.h"

namespace afterimage {

Report read_report(const std::string& path) {
  constexpr std::uint64_t largest_report = 1ULL << 30;
  return report_from_json(parse_json(read_file(path, largest_report), path), path);
}

}  // namespace afterimage
