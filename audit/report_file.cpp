#include "audit/report_file.h"

#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "reports/comparison.h"
#include "reports/html.h"
#include "reports/task_sequence.h"

namespace afterimage {

Json read_document(const std::string& path) {
  constexpr std::uint64_t largest_report = 1ULL << 30;
  return parse_json(read_file(path, largest_report), path);
}

bool is_report(const Json& document) {
  const auto schema = document.is_object() ? document.find("schema") : document.end();
  return schema != document.end() && schema->is_string() &&
         schema->get_ref<const std::string&>().starts_with("afterimage.report/");
}

Report read_report(const std::string& path) { return report_from_json(read_document(path), path); }

std::string render_file(const std::string& path) {
  const Json document = read_document(path);
  const auto schema = document.is_object() ? document.find("schema") : document.end();
  if (schema != document.end() && *schema == comparison_schema) {
    return render_html(comparison_from_json(document, path));
  }
  if (schema != document.end() && *schema == tasks_schema) return render_html(task_sequence_from_json(document, path));
  return render_html(report_from_json(document, path));
}

}  // namespace afterimage
