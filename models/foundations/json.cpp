#include "models/foundations/json.h"

#include <fmt/format.h>

#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::size_t deepest = 64;
constexpr std::size_t most_names = 1 << 14;  // ordered objects are searched linearly

// Builds the document while it is parsed, and stops at what is not allowed. The library's own parser takes quadratic
// time: in the length of a list with a callback, and in the number of an object's names without one.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::string& file, std::size_t most_values) : file_(file), most_values_(most_values) {}

  Json take() { return std::move(document_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(Json::number_integer_t value) override { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) override { return add(value); }
  bool number_float(Json::number_float_t value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { throw std::logic_error("JSON holds no bytes"); }

  bool start_object(std::size_t) override { return open(); }
  bool key(std::string& name) override {
    count();
    Open& object = open_.back();
    if (!object.seen.insert(name).second) {
      throw InputError(fmt::format("{}: JSON has the name \"{}\" twice in one object", file_, printable(name)));
    }
    if (object.seen.size() > most_names) {
      throw InputError(fmt::format("{}: JSON has an object of more than {} names", file_, most_names));
    }
    object.names.push_back(std::move(name));
    return true;
  }
  bool end_object() override {
    Open object = close();
    Json::object_t members;
    members.reserve(object.names.size());  // growing would copy them
    for (std::size_t i = 0; i < object.names.size(); ++i) {
      members.emplace_back(std::move(object.names[i]), std::move(object.values[i]));
    }
    return place(Json(std::move(members)));
  }

  bool start_array(std::size_t) override { return open(); }
  bool end_array() override { return place(Json(close().values)); }

  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    throw InputError(fmt::format("{}: not valid JSON ({})", file_, printable(error.what())));
  }

 private:
  // A list or an object whose end has not come yet.
  struct Open {
    std::vector<std::string> names;  // of an object, one for each value
    std::set<std::string> seen;
    Json::array_t values;
  };

  void count() {
    if (open_.size() > deepest) {
      throw InputError(fmt::format("{}: JSON is nested deeper than {} levels", file_, deepest));
    }
    if (++values_ > most_values_) {
      throw InputError(fmt::format("{}: JSON has more than {} values and names", file_, most_values_));
    }
  }

  template <class Value>
  bool add(Value&& value) {
    count();
    return place(Json(std::forward<Value>(value)));
  }

  bool place(Json value) {
    (open_.empty() ? document_ : open_.back().values.emplace_back()) = std::move(value);
    return true;
  }

  bool open() {
    count();
    open_.emplace_back();
    return true;
  }

  Open close() {
    Open closed = std::move(open_.back());
    open_.pop_back();
    return closed;
  }

  const std::string& file_;
  std::size_t most_values_, values_ = 0;
  Json document_;
  std::vector<Open> open_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& file, std::size_t most_values) {
  Builder builder(file, most_values);
  Json::sax_parse(text, &builder);
  return builder.take();
}

}  // namespace afterimage
