#include "audit/interrupted.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/files.h"
#include "models/base/json.h"
#include "models/base/safetensors.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t largest_finding = 1ULL << 30;
constexpr auto often_enough = std::chrono::seconds(1);
constexpr int time_per_write = 30;  // as long as a write took, at least, until the next

}  // namespace

std::string fingerprint_text(const Context& context, const std::string& name,
                             const std::map<std::string, std::string>& options) {
  const Tool tool = context.tool();
  std::string text = fmt::format("{}|{}|{}|{}|{}", tool.version, tool.libtorch, context.seed, context.threads, name);
  for (const auto& [option, value] : options) text += fmt::format("|{}={}", option, value);
  return text;
}

std::string digest_of(const Tensor& tensor) {
  const Tensor whole = tensor.contiguous();
  return sha256_of({static_cast<const char*>(whole.data_ptr()), whole.nbytes()});
}

fs::path Leftovers::finding_file(const std::string& attack) const { return folder_ / (attack + ".partial.json"); }

fs::path Leftovers::state_file(const std::string& attack) const { return folder_ / (attack + ".state.safetensors"); }

void Leftovers::keep_finding(const Finding& finding, const std::string& fingerprint) const {
  write_file(finding_file(finding.attack), Json{{"fingerprint", fingerprint}, {"finding", to_json(finding)}}.dump());
  fs::remove(state_file(finding.attack));
}

std::optional<Finding> Leftovers::finding(const std::string& attack, const std::string& fingerprint) const {
  const auto file = finding_file(attack);
  if (!fs::exists(file)) return std::nullopt;
  const Json partial = parse_json(read_file(file, largest_finding), file.string());
  if (!partial.is_object() || partial.value("fingerprint", "") != fingerprint || !partial.contains("finding"))
    return std::nullopt;
  return finding_from_json(partial["finding"], file.string());
}

void Leftovers::clear() const {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".partial.json") || name.ends_with(".state.safetensors")) fs::remove(entry.path());
  }
  clear_half_written();
}

void Leftovers::clear_half_written() const {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (is_half_written(entry.path())) fs::remove(entry.path());
  }
}

FileCheckpoint::FileCheckpoint(fs::path file, std::string fingerprint, bool take)
    : file_(std::move(file)),
      fingerprint_(std::move(fingerprint)),
      next_(std::chrono::steady_clock::now() + often_enough) {
  if (!take || !fs::exists(file_)) return;
  Safetensors content = read_safetensors(file_);
  if (content.metadata["fingerprint"] == fingerprint_) kept_ = State(std::move(content.arrays));
}

void FileCheckpoint::keep(const State& state) {
  const auto start = std::chrono::steady_clock::now();
  if (file_.has_parent_path()) fs::create_directories(file_.parent_path());
  write_safetensors(file_, {state.arrays(), {{"fingerprint", fingerprint_}}});
  const auto end = std::chrono::steady_clock::now();
  next_ = end + std::max<std::chrono::steady_clock::duration>(often_enough, time_per_write * (end - start));
}

}  // namespace afterimage
