#include "models/formats/weight_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "models/formats/npz.h"
#include "models/formats/pytorch.h"
#include "models/formats/safetensors.h"
#include "models/formats/wrapper_names.h"
#include "models/formats/zip_archive.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

enum class Format { pytorch, torchscript, safetensors, shards, npz };

constexpr std::uint64_t largest_index = 8 << 20;
constexpr std::size_t most_index_values = 1 << 18, most_shards = 1024, most_members = 1 << 17, signature = 16;
constexpr const char *index_ending = ".safetensors.index.json", *bin_index_ending = ".bin.index.json";

bool is_index(const std::string& name) { return name.ends_with(index_ending) || name.ends_with(bin_index_ending); }

[[noreturn]] void refuse_format(const fs::path& path, const char* what, const char* remedy) {
  throw InputError(fmt::format("{}: is {}, which is not read; {}", path.string(), what, remedy));
}

constexpr const char* pytorch_kind = "PyTorch state dict";
constexpr const char* state_dict_remedy = "save model.state_dict() with torch.save, or with safetensors";
constexpr const char* npz_remedy =
    "write its weights with numpy.savez, as in numpy.savez(\"weights.npz\", **{w.path: w.numpy() for w in "
    "model.weights})";

Format zip_format(const fs::path& path) {
  std::optional<ZipArchive> zip;
  try {
    zip.emplace(path, state_dict_remedy, most_members);
  } catch (const InputError&) {
    // Whose reader says what is wrong with the archive.
    return path.extension() == ".npz" ? Format::npz : Format::pytorch;
  }
  bool arrays = true, pickle = false, script = false;
  for (const auto& member : zip->members()) {
    const std::string& name = member.name;
    arrays = arrays && name.ends_with(".npy");
    pickle = pickle || name.ends_with("/data.pkl");
    script = script || name.ends_with("/constants.pkl") || name.find("/code/") != std::string::npos;
    if (name == "serialized_exported_program.json" || name.ends_with("/archive_format")) {
      refuse_format(path, "an exported program (torch.export; the batch that it was exported with may lie in it, too)",
                    "save model.state_dict() with torch.save, and describe the network in model.json");
    }
    if (name == "model.weights.h5") refuse_format(path, "a Keras archive", npz_remedy);
  }
  if ((arrays && !zip->members().empty()) || (path.extension() == ".npz" && !pickle)) return Format::npz;
  return pickle && script ? Format::torchscript : Format::pytorch;
}

std::optional<Format> format_of(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return Format::shards;
  const std::string start = first_bytes(path, signature), extension = path.extension().string();
  if (start.starts_with("PK")) return zip_format(path);
  if (start.starts_with("\x89HDF")) refuse_format(path, "an HDF5 file, as Keras writes", npz_remedy);
  if (start.starts_with("GGUF")) refuse_format(path, "a GGUF file", "give the weights that it was converted from");
  if (extension == ".onnx") refuse_format(path, "an ONNX graph", state_dict_remedy);
  if (is_index(path.filename().string())) return Format::shards;
  // Its header's length, and the header's first byte.
  if (start.size() == signature && start[8] == '{' && start.compare(4, 4, std::string(4, '\0')) == 0) {
    return Format::safetensors;
  }
  if (extension == ".safetensors") return Format::safetensors;
  if (extension == ".npz") return Format::npz;
  for (const char* pytorch : {".pt", ".pth", ".ckpt", ".bin"}) {
    if (extension == pytorch) return Format::pytorch;
  }
  if (start.starts_with('\x80')) return Format::pytorch;  // a pickle, whose reader says what it is
  return std::nullopt;
}

Format require_format(const fs::path& path) {
  if (const auto format = format_of(path)) return *format;
  throw InputError(path.string() + ": unknown weight format; give a .safetensors, .pt or .npz file");
}

// "model-00002-of-00003.safetensors"; the only one of one is none.
bool is_shard(const fs::path& path) {
  const std::string name = path.stem().string();
  const auto of = name.rfind("-of-");
  return of != std::string::npos && of + 4 < name.size() && !name.ends_with("-of-00001") &&
         std::all_of(name.begin() + static_cast<std::ptrdiff_t>(of) + 4, name.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

// What safetensors' save_model leaves out, since it shares the values of another: the metadata say of which.
void add_shared(ArrayFile& content, const std::map<std::string, std::string>& metadata, std::uint64_t file_bytes,
                const std::string& file) {
  std::uint64_t total = 0;
  for (const auto& [name, same] : metadata) {
    const Array* array = find(content.arrays, same);
    if (array == nullptr || find(content.arrays, name) != nullptr) continue;
    total += array->bytes.size();
    if (total > most_shared_bytes(file_bytes)) {
      throw InputError(
          fmt::format("{}: its metadata repeat tensors to more than {} times the file; save clones of shared tensors",
                      file, most_repeated));
    }
    Array copy = *array;
    content.arrays.emplace_back(name, std::move(copy));
  }
}

WeightFile read_one_safetensors(const fs::path& path) {
  Safetensors file = read_safetensors(path);
  WeightFile result{"safetensors", {std::move(file.arrays), std::move(file.passed_over), {}, ""}};
  add_shared(result.content, file.metadata, bytes_in(path), path.string());
  for (const auto& [name, value] : file.metadata) {
    result.metadata.push_back(fmt::format("{}: {}", printable(name), printable(value)));
  }
  return result;
}

std::vector<fs::path> indexes_in(const fs::path& folder) {
  std::vector<fs::path> indexes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_index(entry.path().filename().string())) indexes.push_back(entry.path());
  }
  return indexes;
}

// The one index in a folder, or the one safetensors file.
fs::path weights_in_folder(const fs::path& folder) {
  const std::vector<fs::path> indexes = indexes_in(folder);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || name == "pytorch_model.bin") files.push_back(entry.path());
  }
  if (indexes.size() == 1) return indexes[0];
  if (indexes.empty() && files.size() == 1) return files[0];
  throw InputError(fmt::format("{}: is a folder with {} files of weights and {} *{}; give the file of weights",
                               folder.string(), files.size(), indexes.size(), index_ending));
}

// Where the index says that each tensor is: the tensors of each file.
std::map<std::string, std::set<std::string>> shard_map(const fs::path& index) {
  const std::string file = index.string();
  const auto document = parse_json(read_file(index, largest_index), file, most_index_values);
  if (!document.is_object() || !document.contains("weight_map") || !document["weight_map"].is_object()) {
    throw InputError(file + ": has no weight_map, which an index of sharded safetensors has");
  }
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, value] : document["weight_map"].items()) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    const bool known = name.ends_with(".safetensors") || name.ends_with(".bin");
    if (!known || name.find('/') != std::string::npos) {
      throw InputError(
          fmt::format("{}: says that tensor \"{}\" is in \"{}\"; it has to be in a .safetensors or .bin file of "
                      "the same folder",
                      file, printable(tensor), printable(name)));
    }
    shards[name].insert(tensor);
  }
  if (shards.empty() || shards.size() > most_shards) {
    throw InputError(fmt::format("{}: names {} files; it has to name 1 to {}", file, shards.size(), most_shards));
  }
  return shards;
}

ArrayFile arrays_of_shard(const fs::path& shard) {
  Safetensors file = read_safetensors(shard);
  return {std::move(file.arrays), std::move(file.passed_over), {}, ""};
}

WeightFile of_pickle(ArrayFile content) {
  WeightFile file{pytorch_kind, std::move(content)};
  file.is_pickle = true;
  return file;
}

WeightFile read_shards(const fs::path& path) {
  std::error_code ignored;
  const fs::path index = fs::is_directory(path, ignored) ? weights_in_folder(path) : path;
  if (index.extension() == ".safetensors") return read_one_safetensors(index);
  if (index.extension() == ".bin") return of_pickle(read_pytorch(index));
  const auto shards = shard_map(index);
  const bool bin = index.string().ends_with(bin_index_ending);
  WeightFile result{fmt::format("{} in {} files", bin ? pytorch_kind : "safetensors", shards.size()), {}};
  result.is_pickle = bin;
  for (const auto& [name, tensors] : shards) {
    const fs::path shard = index.parent_path() / name;
    ArrayFile file = bin ? read_pytorch(shard) : arrays_of_shard(shard);
    std::set<std::string> names;
    for (const auto& entry : file.arrays) names.insert(entry.first);
    for (const auto& other : file.passed_over) names.insert(other.name);
    for (auto& [tensor, array] : file.arrays) {
      if (!tensors.contains(tensor)) {
        throw InputError(
            fmt::format("{}: holds tensor \"{}\", which {} does not name for it; give the files that belong "
                        "together",
                        shard.string(), printable(tensor), index.string()));
      }
      result.content.arrays.emplace_back(tensor, std::move(array));
    }
    for (const auto& wanted : tensors) {
      if (names.contains(wanted)) continue;
      throw InputError(
          fmt::format("{}: has no tensor \"{}\", which {} says that it holds; give the files that belong "
                      "together",
                      shard.string(), printable(wanted), index.string()));
    }
    for (auto& other : file.passed_over) result.content.passed_over.push_back(std::move(other));
  }
  return result;
}

WeightFile read_as_written(const fs::path& path, const std::string& key) {
  switch (require_format(path)) {
    case Format::pytorch:
      return of_pickle(read_pytorch(path, key));
    case Format::torchscript:
      return {"TorchScript archive", read_torchscript_parameters(path), true};
    case Format::safetensors:
      return read_one_safetensors(path);
    case Format::shards:
      return read_shards(path);
    case Format::npz:
      return {"NumPy archive", read_npz_file(path)};
  }
  throw std::logic_error("unknown format");
}

// What a key names: a dict of a PyTorch file or the beginning of names in it; else the beginning of names without what
// wrappers add, in any format.
WeightFile read_at_key(const fs::path& path, const std::string& key) {
  const auto whole = [&](WeightFile file) {
    if (!file.is_script) take_off_wrappers(file.content, path.string());
    return file;
  };
  if (key.empty()) return whole(read_as_written(path, ""));
  const bool has_dicts = require_format(path) == Format::pytorch;
  if (has_dicts) {
    try {
      return whole(read_as_written(path, key));
    } catch (const UsageError&) {  // no dict: what names begin with is left
    }
  }
  std::optional<WeightFile> file;
  try {
    file = whole(read_as_written(path, ""));
  } catch (const InputError&) {
    if (!has_dicts) throw;
    static_cast<void>(read_as_written(path, key));  // several dicts, none of which the key names
  }
  if (file && keep_part(file->content, key + ".")) return *std::move(file);
  throw UsageError(
      fmt::format("--key {}: {} has no dict there, and no names that begin with it", printable(key), path.string()));
}

}  // namespace

WeightFile read_weight_file(const fs::path& path, const std::string& asked_key) {
  const std::string key = asked_key.ends_with('.') ? asked_key.substr(0, asked_key.size() - 1) : asked_key;
  if (key.empty() && !asked_key.empty()) throw UsageError("--key .: names nothing; give what names begin with");
  WeightFile file = read_at_key(path, key);
  std::error_code ignored;
  if (is_shard(path) && !fs::is_directory(path, ignored)) {
    file.content.no_weights =
        fmt::format("is one shard of several, by its name; give the folder or its *{} or *{}, for all of them",
                    index_ending, bin_index_ending);
  }
  const bool adapter = std::any_of(file.content.arrays.begin(), file.content.arrays.end(),
                                   [](const auto& entry) { return entry.first.find("lora_") != std::string::npos; });
  if (adapter) {
    file.content.no_weights =
        "holds a low-rank adapter that is not merged; merge it into the base model (merge_and_unload) and save that";
  }
  return file;
}

FileDigest digest_of_weights(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const auto indexes = indexes_in(path);
    return indexes.size() == 1 ? digest_of_weights(indexes[0]) : digest_of(path);
  }
  if (!is_index(path.filename().string())) return digest_of(path);
  FileDigest whole = digest_of(path);
  std::string list = fmt::format("{}  {}\n", whole.sha256, path.filename().string());
  for (const auto& [name, tensors] : shard_map(path)) {
    const FileDigest shard = digest_of(path.parent_path() / name);
    whole.bytes += shard.bytes;
    list += fmt::format("{}  {}\n", shard.sha256, name);
  }
  return {whole.bytes, sha256_of(list)};
}

bool is_weight_file(const fs::path& path) { return format_of(path).has_value(); }

}  // namespace afterimage
