#include "audit/interrupted.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "attacks/attack.h"
#include "audit/report_file.h"
#include "models/formats/safetensors.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json_reader.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t largest_finding = 1ULL << 30;
constexpr auto often_enough = std::chrono::seconds(1);
constexpr int time_per_write = 30;  // the next write comes no sooner than so many times as long as the last one took
constexpr const char* report_file = "report.json";
constexpr std::array<const char*, 4> results = {report_file, "report.html", "contact-sheet.png", "scoring.npz"};
constexpr std::array<const char*, 2> of_one_attack = {"reconstruction.npz", "result.json"};  // `attack` writes them
constexpr std::array<const char*, 3> by_attack = {".npz", ".partial.json", ".state.safetensors"};

bool is_written_by_audits(const std::string& name) {
  if (std::count(results.begin(), results.end(), name) == 1) return true;
  return std::any_of(all_attacks().begin(), all_attacks().end(), [&](const auto& attack) {
    return std::any_of(by_attack.begin(), by_attack.end(),
                       [&](const char* ending) { return name == attack.name + ending; });
  });
}

// Of any version, since it is replaced; other programs write files of that name too.
bool holds_report(const fs::path& file) {
  try {
    return is_report(read_document(file.string()));
  } catch (const InputError&) {
    return false;
  }
}

// The program's output may be redirected into the folder; an audit leaves such files alone.
bool is_log(const std::string& name) { return name == "log.txt" || name.ends_with(".log"); }

void require_its_own(const Finding& finding, const std::string& attack, std::int64_t images, const fs::path& file) {
  const auto reject = [&](const std::string& what) {
    throw InputError(fmt::format("{}: {}; delete the file, and the attack is run again", file.string(), what));
  };
  if (finding.attack != attack) reject(fmt::format("holds a finding of {}", printable(finding.attack)));
  std::vector<bool> is_there(static_cast<std::size_t>(images));
  for (const auto& sample : finding.samples) {
    if (sample.index < 0 || sample.index >= images) {
      reject(fmt::format("finding.samples has the index {}, but there are {} training images", sample.index, images));
    }
    if (is_there[static_cast<std::size_t>(sample.index)]) {
      reject(fmt::format("finding.samples has the index {} twice", sample.index));
    }
    is_there[static_cast<std::size_t>(sample.index)] = true;
  }
}

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

std::optional<Finding> Leftovers::finding(const std::string& attack, const std::string& fingerprint,
                                          std::int64_t images) const {
  const auto file = finding_file(attack);
  if (!fs::exists(file)) return std::nullopt;
  const Json partial = parse_json(read_file(file, largest_finding), file.string());
  const json::Reader in(partial, file.string());
  if (in["fingerprint"].text() != fingerprint) return std::nullopt;
  Finding finding = finding_from_json(in.required("finding").raw(), file.string());
  require_its_own(finding, attack, images, file);
  return finding;
}

void Leftovers::take_over() const {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    const std::string whole = whole_name(name);
    const bool own = entry.is_regular_file() && (is_log(name) || is_written_by_audits(whole.empty() ? name : whole)) &&
                     (name != report_file || holds_report(entry.path()));
    if (!own) {
      throw UsageError(fmt::format("--out {}: holds {}, which no audit writes; give a new or empty folder",
                                   folder_.string(), printable(name)));
    }
  }
  clear_half_written();
}

void Leftovers::require_same_inputs(const std::vector<InputFile>& inputs) const {
  if (!fs::exists(folder_ / report_file)) return;
  const Report finished = read_report((folder_ / report_file).string());
  for (const InputFile& input : inputs) {
    const auto same = [&](const InputFile& other) { return other.role == input.role && other.sha256 == input.sha256; };
    if (std::any_of(finished.inputs.begin(), finished.inputs.end(), same)) continue;
    throw UsageError(
        fmt::format("--resume: {} holds a finished report of other inputs ({} is another there); name a new folder",
                    folder_.string(), input.role));
  }
}

void Leftovers::clear() const {
  for (const auto& attack : all_attacks()) {
    fs::remove(finding_file(attack.name));
    fs::remove(state_file(attack.name));
  }
  clear_half_written();
}

void Leftovers::clear_half_written() const {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string whole = whole_name(entry.path());
    if (is_written_by_audits(whole) || std::count(of_one_attack.begin(), of_one_attack.end(), whole) == 1) {
      fs::remove(entry.path());
    }
  }
}

FileStateStore::FileStateStore(fs::path file, std::string fingerprint, bool take)
    : file_(std::move(file)),
      fingerprint_(std::move(fingerprint)),
      next_(std::chrono::steady_clock::now() + often_enough) {
  if (!take || !fs::exists(file_)) return;
  Safetensors content = read_safetensors(file_);
  if (content.metadata["fingerprint"] == fingerprint_) kept_ = State(std::move(content.arrays), file_.string());
}

void FileStateStore::keep(const State& state) {
  const auto start = std::chrono::steady_clock::now();
  if (file_.has_parent_path()) fs::create_directories(file_.parent_path());
  write_safetensors(file_, {state.arrays(), {{"fingerprint", fingerprint_}}});
  const auto end = std::chrono::steady_clock::now();
  next_ = end + std::max<std::chrono::steady_clock::duration>(often_enough, time_per_write * (end - start));
}

}  // namespace afterimage
