#include "models/formats/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "models/formats/pickle_names.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

using Index = PickleValue::Index;
using Kind = PickleKind;

constexpr std::size_t most_values = 400'000;  // a hundred bytes each: 40 MB
constexpr std::size_t most_items = 1 << 20;   // on the stack, and in all containers together
constexpr std::size_t most_memos = 1 << 20;
constexpr std::size_t most_marks = 1 << 16;
constexpr std::size_t longest_integer = 255;  // bytes
constexpr std::size_t most_foreign_bytes = 1 << 20;

constexpr std::string_view ordered_dict = "collections.OrderedDict", counter = "collections.Counter";
constexpr std::string_view type_tag = "torch.jit._pickle.restore_type_tag", classes = "__torch__.";

class PickleMachine {
 public:
  PickleMachine(std::string_view bytes, const std::string& file, PickleNames names)
      : bytes_(bytes), end_(bytes.size()), file_(file), names_(names) {
    for (const auto kind : {Kind::none, Kind::boolean, Kind::boolean, Kind::tuple}) add(kind);
    pickle_.values[yes].boolean = true;
  }

  Pickle run() {
    for (;;) {
      if (at_ == frame_end_) end_ = bytes_.size();
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') break;
      if (!number(opcode) && !text(opcode) && !container(opcode) && !memo(opcode) && !object(opcode)) other(opcode);
    }
    pickle_.root = pop();
    if (!stack_.empty() || !marks_.empty()) fail("leaves values behind");
    if (at_ < frame_end_) fail("ends inside a frame");
    pickle_.length = at_;
    return std::move(pickle_);
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: its pickle {}; write it with torch.save(model.state_dict(), ...)", file_, what));
  }

 private:
  // Made once and shared, so that a single byte of the pickle takes no memory of its own.
  enum : Index { nothing, no, yes, empty_tuple };

  // Bytes of the pickle.
  std::string_view take(std::uint64_t count) {
    if (count > end_ - at_) fail(end_ < bytes_.size() ? "has a frame that cuts a value" : "ends early");
    const auto taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }
  std::uint64_t unsigned_number(int bytes) {
    const auto taken = take(static_cast<std::uint64_t>(bytes));
    std::uint64_t value = 0;
    for (int i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(taken[static_cast<std::size_t>(i)]);
    return value;
  }
  std::string_view line() {
    const auto length = bytes_.substr(at_, end_ - at_).find('\n');
    if (length == std::string_view::npos) fail("ends early");
    const auto taken = take(length + 1);
    return taken.substr(0, length);
  }

  // Values and the stack.
  Index add(Kind kind) {
    if (pickle_.values.size() == most_values) fail(fmt::format("has more than {} values", most_values));
    pickle_.values.emplace_back().kind = kind;
    return static_cast<Index>(pickle_.values.size() - 1);
  }
  Index add(Kind kind, std::string_view content) {
    const Index index = add(kind);
    pickle_.values[index].text = content;
    return index;
  }
  void count_items(std::size_t more) {
    items_ += more;
    if (items_ > most_items) fail(fmt::format("has more than {} items", most_items));
  }
  void push(Index index) {
    if (stack_.size() == most_items) fail("has too high a stack");
    stack_.push_back(index);
  }
  void push_integer(std::int64_t value) {
    const Index index = add(Kind::integer);
    pickle_.values[index].integer = value;
    push(index);
  }
  void push_real(double value) {
    const Index index = add(Kind::real);
    pickle_.values[index].real = value;
    push(index);
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleValue& top() {
    if (stack_.size() <= floor()) fail("takes a value from an empty stack");
    return pickle_.values[stack_.back()];
  }
  Index pop() {
    top();
    const Index index = stack_.back();
    stack_.pop_back();
    return index;
  }
  std::vector<Index> pop_count(std::size_t count) {
    if (stack_.size() - floor() < count) fail("takes a value from an empty stack");
    count_items(count);
    const auto from = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<Index> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    return items;
  }
  std::vector<Index> pop_to_mark() {
    if (marks_.empty()) fail("returns to a mark that was not set");
    auto items = pop_count(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_container(Kind kind, std::vector<Index> items) {
    if (kind == Kind::dict && items.size() % 2 != 0) fail("has a key without a value");
    if (kind == Kind::tuple && items.empty()) return push(empty_tuple);
    const Index index = add(kind);
    pickle_.values[index].items = std::move(items);
    push(index);
  }
  void append(Kind kind, const std::vector<Index>& items) {
    PickleValue& container = top();
    if (container.kind == Kind::foreign) return;  // a list or dict of a class of its own
    if (container.kind != kind) fail("adds items to a value that is no container");
    if (kind == Kind::dict && items.size() % 2 != 0) fail("has a key without a value");
    container.items.insert(container.items.end(), items.begin(), items.end());
  }

  // The opcodes, a group each: whether `opcode` is of the group.
  bool number(unsigned char opcode) {
    switch (opcode) {
      case 'N':
        push(nothing);
        return true;
      case 0x88:
      case 0x89:
        push(opcode == 0x88 ? yes : no);
        return true;
      case 'K':
        push_integer(static_cast<std::int64_t>(unsigned_number(1)));
        return true;
      case 'M':
        push_integer(static_cast<std::int64_t>(unsigned_number(2)));
        return true;
      case 'J':
        push_integer(static_cast<std::int32_t>(unsigned_number(4)));
        return true;
      case 0x8a:
        push_long(unsigned_number(1));
        return true;
      case 0x8b:
        push_long(unsigned_number(4));
        return true;
      case 'I':
      case 'L':
        push_decimal(line());
        return true;
      case 'G': {
        std::uint64_t bits = __builtin_bswap64(unsigned_number(8));
        double value = 0;
        std::memcpy(&value, &bits, 8);
        push_real(value);
        return true;
      }
      case 'F': {
        const auto digits = line();
        double value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc() || end != digits.data() + digits.size()) fail("has a malformed number");
        push_real(value);
        return true;
      }
      default:
        return false;
    }
  }
  void push_long(std::uint64_t length) {
    if (length > longest_integer) fail(fmt::format("has an integer of {} bytes", length));
    const auto digits = take(length);
    if (length > 8) return push(add(Kind::large_integer, digits));
    std::uint64_t value = length > 0 && (static_cast<unsigned char>(digits.back()) & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    for (std::size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    push_integer(static_cast<std::int64_t>(value));
  }
  void push_decimal(std::string_view digits) {
    if (digits == "00" || digits == "01") return push(digits == "01" ? yes : no);
    if (digits.ends_with('L')) digits.remove_suffix(1);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("has a malformed integer");
    push_integer(value);
  }

  bool text(unsigned char opcode) {
    switch (opcode) {
      case 'X':
      case 'T':
        push(add(Kind::text, take(unsigned_number(4))));
        return true;
      case 0x8c:
      case 'U':
        push(add(Kind::text, take(unsigned_number(1))));
        return true;
      case 0x8d:
        push(add(Kind::text, take(unsigned_number(8))));
        return true;
      case 'B':
        push(add(Kind::bytes, take(unsigned_number(4))));
        return true;
      case 'C':
        push(add(Kind::bytes, take(unsigned_number(1))));
        return true;
      case 0x8e:
      case 0x96:
        push(add(Kind::bytes, take(unsigned_number(8))));
        return true;
      case 'V':
      case 'S': {
        auto written = line();
        if (written.find('\\') != std::string_view::npos) fail("has a text with escapes, which only protocol 0 writes");
        const bool quoted = written.size() >= 2 && written.front() == written.back() &&
                            (written.front() == '\'' || written.front() == '"');
        if (opcode == 'S' && !quoted) fail("has a text without quotes");
        push(add(Kind::text, opcode == 'S' ? written.substr(1, written.size() - 2) : written));
        return true;
      }
      default:
        return false;
    }
  }

  bool container(unsigned char opcode) {
    switch (opcode) {
      case '(':
        if (marks_.size() == most_marks) fail("has too many marks");
        marks_.push_back(stack_.size());
        return true;
      case ')':
        push(empty_tuple);
        return true;
      case ']':
      case 0x8f:  // a set
        push_container(Kind::list, {});
        return true;
      case '}':
        push_container(Kind::dict, {});
        return true;
      case 't':
        push_container(Kind::tuple, pop_to_mark());
        return true;
      case 0x85:
      case 0x86:
      case 0x87:
        push_container(Kind::tuple, pop_count(opcode - 0x84U));
        return true;
      case 'l':
      case 0x91:  // a frozen set
        push_container(Kind::list, pop_to_mark());
        return true;
      case 'd':
        push_container(Kind::dict, pop_to_mark());
        return true;
      case 'a':
        append(Kind::list, pop_count(1));
        return true;
      case 'e':
      case 0x90:
        append(Kind::list, pop_to_mark());
        return true;
      case 's':
        append(Kind::dict, pop_count(2));
        return true;
      case 'u':
        append(Kind::dict, pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  bool memo(unsigned char opcode) {
    switch (opcode) {
      case 'q':
        remember(unsigned_number(1));
        return true;
      case 'r':
        remember(unsigned_number(4));
        return true;
      case 'p':
        remember(memo_key(line()));
        return true;
      case 0x94:
        remember(remembered_);
        return true;
      case 'h':
        recall(unsigned_number(1));
        return true;
      case 'j':
        recall(unsigned_number(4));
        return true;
      case 'g':
        recall(memo_key(line()));
        return true;
      case '0':
        // As in Python: with nothing above the mark, the mark is removed.
        if (!marks_.empty() && stack_.size() == marks_.back()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case '1':
        if (marks_.empty()) fail("returns to a mark that was not set");
        stack_.resize(marks_.back());
        marks_.pop_back();
        return true;
      case '2':
        top();
        push(stack_.back());
        return true;
      default:
        return false;
    }
  }
  std::uint64_t memo_key(std::string_view digits) const {
    std::uint64_t key = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), key);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("has a memo without a number");
    return key;
  }
  void remember(std::uint64_t key) {
    if (key >= most_memos) fail(fmt::format("has a memo of number {}, above {}", key, most_memos));
    top();
    if (memo_.size() <= key) memo_.resize(key + 1, unset);
    if (memo_[key] == unset) ++remembered_;
    memo_[key] = stack_.back();
  }
  void recall(std::uint64_t key) {
    if (key >= memo_.size() || memo_[key] == unset) fail(fmt::format("recalls memo {}, which was not set", key));
    push(memo_[key]);
  }

  bool object(unsigned char opcode) {
    switch (opcode) {
      case 'c':
      case 'i': {
        const auto module = line(), name = line();
        push_global(module, name);
        if (opcode == 'i') instance();
        return true;
      }
      case 0x93: {
        const Index name = pop(), module = pop();
        if (kind_of(name) != Kind::text || kind_of(module) != Kind::text)
          fail("names an import by a value that is no text");
        push_global(pickle_.values[module].text, pickle_.values[name].text);
        return true;
      }
      case 'R':
        reduce();
        return true;
      case 0x81:
        new_object();
        return true;
      case 'b':
        build();
        return true;
      case 'Q': {
        const Index where = pop();
        if (kind_of(where) != Kind::tuple) fail("has a storage that is not described by a tuple");
        count_items(1);
        push_container(Kind::persistent, {where});
        return true;
      }
      default:
        return false;
    }
  }
  Kind kind_of(Index index) const { return pickle_.values[index].kind; }

  void push_global(std::string_view module, std::string_view name) {
    const std::string full = fmt::format("{}.{}", module, name);
    auto known = known_function(full);
    if (!known) known = known_type(full);
    if (!known && names_ == PickleNames::torchscript) {
      known = known_script_function(full);
      if (!known && (module == "__torch__" || module.starts_with(classes))) known = name;
    }
    if (known) return push(add(Kind::global, *known));
    if (names_ == PickleNames::torchscript || runs_code(full)) {
      throw InputError(
          fmt::format("{}: its pickle names {}, which no state dict needs and which is not run; save "
                      "model.state_dict() alone",
                      file_, printable(full)));
    }
    push(add(Kind::foreign, foreign_name(full)));
  }

  std::string_view foreign_name(const std::string& name) {
    const auto [at, added] = pickle_.foreign.insert(name);
    if (added) foreign_bytes_ += name.size();
    if (foreign_bytes_ > most_foreign_bytes) fail("names too many other things");
    return *at;
  }

  void reduce() {
    const Index arguments = pop(), function = pop();
    if (kind_of(arguments) != Kind::tuple) fail("calls something without a tuple of arguments");
    const std::string_view name = pickle_.values[function].text;
    if (kind_of(function) == Kind::foreign) return push(function);
    if (kind_of(function) != Kind::global || (!known_function(name) && !known_script_function(name))) {
      fail(fmt::format("calls a value that is no function ({})", printable(name)));
    }
    const auto& given = pickle_.values[arguments].items;
    if (name == ordered_dict || name == counter) {
      if (given.empty()) return push_container(Kind::dict, {});
      if (given.size() == 1 && kind_of(given[0]) == Kind::dict) return push(given[0]);
      fail(fmt::format("calls {} with arguments that are not a dict", name));
    }
    if (known_script_function(name)) {
      if (given.size() != (name == type_tag ? 2 : 1)) fail(fmt::format("calls {} with other arguments", name));
      return push(given[0]);
    }
    count_items(1);
    const Index call = add(Kind::call, name);
    pickle_.values[call].items = {arguments};
    push(call);
  }

  void new_object() {
    const Index arguments = pop(), type = pop();
    if (kind_of(type) == Kind::foreign) return push(type);
    if (names_ != PickleNames::torchscript || kind_of(type) != Kind::global || kind_of(arguments) != Kind::tuple) {
      fail("makes an object (NEWOBJ), which no state dict does");
    }
    push(add(Kind::object, pickle_.values[type].text));
  }

  // NEWOBJ_EX has keyword arguments as well; OBJ and INST have their arguments since the mark.
  void new_object_with_names() {
    pop();
    const Index arguments = pop(), type = pop();
    if (kind_of(type) != Kind::foreign || kind_of(arguments) != Kind::tuple) {
      fail("makes an object (NEWOBJ_EX), which no state dict does");
    }
    push(type);
  }
  void old_object() {
    const auto items = pop_to_mark();
    if (items.empty() || kind_of(items[0]) != Kind::foreign) fail("makes an object (OBJ), which no state dict does");
    push(items[0]);
  }
  void instance() {
    const Index type = pop();
    pop_to_mark();
    if (kind_of(type) != Kind::foreign) fail("makes an object (INST), which no state dict does");
    push(type);
  }

  // The state of an OrderedDict is its _metadata (versions of modules): not needed.
  void build() {
    const Index state = pop();
    PickleValue& target = top();
    if (target.kind == Kind::foreign) return;
    if (target.kind == Kind::dict && kind_of(state) == Kind::dict) return;
    if (target.kind != Kind::object) fail("sets the state of a value that has none (BUILD)");
    count_items(1);
    target.items = {state};
  }

  void other(unsigned char opcode) {
    switch (opcode) {
      case 0x80:
        if (const auto protocol = unsigned_number(1); protocol > 5) fail(fmt::format("is of protocol {}", protocol));
        return;
      case 0x95: {
        const auto length = unsigned_number(8);
        if (at_ < frame_end_ || length > bytes_.size() - at_) fail("has a frame that is longer than the pickle");
        frame_end_ = end_ = at_ + length;
        return;
      }
      case 0x82:
      case 0x83:
      case 0x84:
        fail("uses a registered extension (EXT), which no state dict does");
      case 'o':
        old_object();
        return;
      case 0x92:
        new_object_with_names();
        return;
      case 'P':
        fail("names a storage in text (PERSID), which torch.save does not");
      case 0x97:
      case 0x98:
        fail("uses a buffer outside of it, which torch.save does not");
      default:
        fail(fmt::format("has the unknown opcode 0x{:02x} at byte {}", opcode, at_ - 1));
    }
  }

  static constexpr Index unset = ~Index{0};

  std::string_view bytes_;
  std::size_t at_ = 0, end_, frame_end_ = 0;  // end_: of the frame or of all
  const std::string& file_;
  PickleNames names_;
  Pickle pickle_;
  std::size_t items_ = 0, remembered_ = 0, foreign_bytes_ = 0;
  std::vector<Index> stack_, memo_;
  std::vector<std::size_t> marks_;
};

}  // namespace

Pickle parse_leading_pickle(std::string_view bytes, const std::string& file, PickleNames names) {
  return PickleMachine(bytes, file, names).run();
}

Pickle parse_pickle(std::string_view bytes, const std::string& file, PickleNames names) {
  PickleMachine machine(bytes, file, names);
  Pickle pickle = machine.run();
  if (pickle.length != bytes.size()) {
    machine.fail(fmt::format("is followed by {} other bytes", bytes.size() - pickle.length));
  }
  return pickle;
}

}  // namespace afterimage
