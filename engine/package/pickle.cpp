// SPDX-License-Identifier: LGPL-2.1-or-later
// The opcodes are those of Python's pickletools.py. Protocol 2 is what torch.save writes; 3 to 5 are what others ask
// it for.
#include "package/pickle.h"

#include <unordered_map>

#include "base/error.h"
#include "package/bytes.h"

namespace flowcache {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t largest_pickle =
    64 << 20;  // bytes; those of models of 14 billion weights have less than one million
constexpr size_t most_values = 4'000'000;
constexpr int newest_protocol = 5;

class Machine {
 public:
  Machine(std::string_view data, const std::string& file,
          const std::function<bool(const std::string&)>& allowed)
      : file_(file), allowed_(allowed), in_(data, [this](const std::string& why) { damaged(why); }) {}

  Pickle run() {
    while (!step(in_.u8())) {
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void damaged(const std::string& why) const {
    throw Error(FC_ERROR_MODEL, file_ + ": its pickle " + why + "; the file is damaged: fetch it again");
  }

  uint32_t make(PickleValue value) {
    if (out_.values.size() == most_values)
      damaged("has more than " + std::to_string(most_values) + " values");
    out_.values.push_back(std::move(value));
    return static_cast<uint32_t>(out_.values.size() - 1);
  }
  void push(PickleValue value) { stack_.push_back(make(std::move(value))); }
  void push_integer(int64_t value, Kind kind = Kind::integer) { push({.kind = kind, .integer = value}); }
  void push_text(std::string_view text) { push({.kind = Kind::text, .text = std::string(text)}); }

  // How many values lie above the last mark.
  size_t above_mark() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  void need(size_t count) const {
    if (above_mark() < count) damaged("takes more values than it has put down");
  }
  uint32_t pop() {
    need(1);
    const uint32_t top = stack_.back();
    stack_.pop_back();
    return top;
  }
  std::vector<uint32_t> pop(size_t count) {
    need(count);
    std::vector<uint32_t> taken(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return taken;
  }
  std::vector<uint32_t> pop_to_mark() {
    if (marks_.empty()) damaged("takes more values than it has put down");
    std::vector<uint32_t> taken = pop(above_mark());
    marks_.pop_back();
    return taken;
  }
  PickleValue& top() {
    need(1);
    return out_.values[stack_.back()];
  }

  void push_group(Kind kind, std::vector<uint32_t> parts) { push({.kind = kind, .parts = std::move(parts)}); }
  void append(const std::vector<uint32_t>& added) {
    PickleValue& list = top();
    if (list.kind != Kind::list) damaged("appends to what is no list");
    list.parts.insert(list.parts.end(), added.begin(), added.end());
  }
  void set_items(const std::vector<uint32_t>& flat) {
    PickleValue& dict = top();
    if (dict.kind != Kind::dict && dict.kind != Kind::call) damaged("sets items of what is no dict");
    if (flat.size() % 2 != 0) damaged("has a key without a value");
    for (size_t i = 0; i < flat.size(); i += 2) dict.items.emplace_back(flat[i], flat[i + 1]);
  }
  void push_global(std::string_view module, std::string_view name) {
    const std::string global = std::string(module) + "." + std::string(name);
    if (!allowed_(global))
      throw Error(
          FC_ERROR_MODEL,
          file_ + ": it asks for " + in_quotes(global) +
              ", which a file of weights has no use for, and nothing of it is run; if you trust it, save its "
              "weights alone with PyTorch: torch.save(model.state_dict(), …)");
    push({.kind = Kind::global, .text = global});
  }
  std::string_view line() {
    const uint64_t begin = in_.at();
    while (in_.u8() != '\n') {
    }
    return in_.between(begin, in_.at() - 1);
  }
  void push_long(uint64_t bytes) {
    if (bytes > 8) damaged("has a number of " + std::to_string(bytes) + " bytes");
    const std::string_view digits = in_.text(bytes);
    uint64_t value = bytes > 0 && (digits.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(digits[i]);
    push_integer(static_cast<int64_t>(value));
  }
  void remember(uint64_t place) {
    need(1);
    memo_[place] = stack_.back();
  }
  void recall(uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) damaged("refers to value " + std::to_string(place) + ", which is not there");
    stack_.push_back(found->second);
  }

  // Whether this was the last one.
  bool step(uint8_t opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const uint8_t version = in_.u8(); version > newest_protocol)
          damaged("is of protocol " + std::to_string(version) + "; " + std::to_string(newest_protocol) +
                  " is the newest that is known");
        return false;
      case 0x95:
        return in_.skip(8), false;  // FRAME
      case '.':
        return out_.root = pop(), true;
      case '(':
        return marks_.push_back(stack_.size()), false;
      case '0':
        return pop(), false;
      case '1':
        return pop_to_mark(), false;
      case 'N':
        return push({}), false;
      case 0x88:
        return push_integer(1, Kind::boolean), false;
      case 0x89:
        return push_integer(0, Kind::boolean), false;
      case 'J':
        return push_integer(static_cast<int32_t>(in_.u32())), false;
      case 'K':
        return push_integer(in_.u8()), false;
      case 'M':
        return push_integer(in_.u16()), false;
      case 0x8a:
        return push_long(in_.u8()), false;  // LONG1
      case 0x8b:
        return push_long(in_.u32()), false;  // LONG4
      case 'G':
        return in_.skip(8), push({.kind = Kind::real}), false;
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
      case 'B':
        return push_text(in_.text(in_.u32())), false;  // BINBYTES
      case 0x8c:                                       // SHORT_BINUNICODE
      case 'U':                                        // SHORT_BINSTRING
      case 'C':
        return push_text(in_.text(in_.u8())), false;  // SHORT_BINBYTES
      case 0x8d:                                      // BINUNICODE8
      case 0x8e:
        return push_text(in_.text(in_.u64())), false;  // BINBYTES8
      case ')':
        return push_group(Kind::tuple, {}), false;
      case 0x85:
        return push_group(Kind::tuple, pop(1)), false;
      case 0x86:
        return push_group(Kind::tuple, pop(2)), false;
      case 0x87:
        return push_group(Kind::tuple, pop(3)), false;
      case 't':
        return push_group(Kind::tuple, pop_to_mark()), false;
      case ']':
      case 0x8f:
        return push_group(Kind::list, {}), false;  // EMPTY_LIST, EMPTY_SET
      case 'l':
        return push_group(Kind::list, pop_to_mark()), false;
      case 'a':
        return append(pop(1)), false;
      case 'e':
      case 0x90:
        return append(pop_to_mark()), false;  // APPENDS, ADDITEMS
      case '}':
        return push({.kind = Kind::dict}), false;
      case 'd': {
        const auto items = pop_to_mark();
        push({.kind = Kind::dict});
        return set_items(items), false;
      }
      case 's':
        return set_items(pop(2)), false;
      case 'u':
        return set_items(pop_to_mark()), false;
      case 'c': {
        const std::string_view module = line();
        return push_global(module, line()), false;
      }
      case 0x93: {  // STACK_GLOBAL
        const auto names = pop(2);
        if (out_[names[0]].kind != Kind::text || out_[names[1]].kind != Kind::text)
          damaged("asks for something that has no name");
        // A copy, as the values move when one is added.
        const std::string module = out_[names[0]].text, name = out_[names[1]].text;
        return push_global(module, name), false;
      }
      case 'R':  // REDUCE
      case 0x81:
        return push_group(Kind::call, pop(2)), false;  // NEWOBJ
      case 'b':
        return pop(), need(1), false;  // BUILD: attributes, such as the _metadata of modules
      case 'Q':
        return push_group(Kind::reference, pop(1)), false;
      case 'q':
        return remember(in_.u8()), false;
      case 'r':
        return remember(in_.u32()), false;
      case 0x94:
        return remember(memo_.size()), false;  // MEMOIZE
      case 'h':
        return recall(in_.u8()), false;
      case 'j':
        return recall(in_.u32()), false;
      default:
        damaged("has the opcode " + std::to_string(opcode) + " at byte " + std::to_string(in_.at() - 1) +
                ", which torch.save never writes");
    }
  }

  std::string file_;
  const std::function<bool(const std::string&)>& allowed_;
  Bytes in_;
  Pickle out_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, uint32_t> memo_;
};

}  // namespace

Pickle read_pickle(std::string_view data, const std::string& file,
                   const std::function<bool(const std::string&)>& allowed) {
  if (data.size() > largest_pickle)
    throw Error(FC_ERROR_MODEL, file + ": its pickle has " + std::to_string(data.size()) +
                                    " bytes; one that describes " + "weights has at most " +
                                    std::to_string(largest_pickle) + ": save the weights alone with PyTorch");
  return Machine(data, file, allowed).run();
}

}  // namespace flowcache
