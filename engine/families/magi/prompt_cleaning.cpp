// SPDX-License-Identifier: LGPL-2.1-or-later
// The DeepFloyd caption cleaner as MAGI-1 uses it. The rules run in the order of the reference, because each
// one sees what those before it left.
#include "families/magi/prompt_cleaning.h"

#include <algorithm>
#include <regex>
#include <vector>

#include "base/unicode.h"
#include "networks/text/prompt_cleaning.h"

namespace flowcache {
namespace {

struct Rule {
  std::wregex pattern;
  const wchar_t* replacement;
};

constexpr size_t max_prompt_bytes = 4096;  // std::regex recurses once for each character

const wchar_t* const web_address =
    LR"(\b((?:https?:(?:\/{1,3}|[a-zA-Z0-9%])|[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w\/-]*\b\/?(?!@))))";
const wchar_t* const file_types = LR"((?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4))";

// Remove addresses, markup, names, quotes, numbers that identify something, file names and decoration.
const std::vector<Rule>& first_rules() {
  static const std::vector<Rule> rules = [] {
    std::vector<Rule> list;
    const auto add = [&](const std::wstring& pattern, const wchar_t* replacement) {
      list.push_back({std::wregex(pattern), replacement});
    };
    add(L"<person>", L"person");
    add(web_address, L"");
    add(L"<[^>]*>", L"");
    add(LR"(@\w+\b)", L"");
    add(LR"(&quot;?)", L"");
    add(LR"(&amp)", L"");
    add(LR"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})", L" ");
    add(LR"(\d:\d\d\s+$)", L"");
    add(LR"(\\n)", L" ");
    add(LR"(#\d{1,3}\b)", L"");
    add(LR"(#\d{5,}\b)", L"");
    add(LR"(\b\d{6,}\b)", L"");
    add(std::wstring(LR"([\S]+\.)") + file_types, L"");
    add(LR"(["']{2,})", L"\"");
    add(LR"([.]{2,})", L" ");
    add(LR"([#\xAE\u2022\xA9\u2122&@\xB7\xBA\xBD\xBE\xBF\xA1\xA7~)(\]\[}{|\\\/*]+)", L" ");
    add(LR"(\s+\.\s+)", L" ");
    return list;
  }();
  return rules;
}

// Remove words that name a product or a page instead of what is seen; then tidy the spacing.
const std::vector<Rule>& last_rules() {
  static const std::vector<Rule> rules = [] {
    std::vector<Rule> list;
    const auto add = [&](const std::wstring& pattern, const wchar_t* replacement) {
      list.push_back({std::wregex(pattern), replacement});
    };
    add(LR"(\b[a-zA-Z]{1,3}\d{3,15}\b)", L"");
    add(LR"(\b[a-zA-Z]+\d+[a-zA-Z]+\b)", L"");
    add(LR"(\b\d+[a-zA-Z]+\d+\b)", L"");
    add(LR"((worldwide\s+)?(free\s+)?shipping)", L"");
    add(LR"((free\s)?download(\sfree)?)", L"");
    add(LR"(\bclick\b\s(?:for|on)\s\w+)", L"");
    add(std::wstring(LR"(\b)") + file_types + LR"((\simage[s]?)?)", L"");
    add(LR"(\bpage\s+\d+\b)", L"");
    add(LR"(\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b)", L" ");
    add(L"\\b\\d+\\.?\\d*[x\u0445\u00D7]\\d+\\.?\\d*\\b", L"");
    add(LR"(\b\s+:\s+)", L": ");
    add(LR"((\D[,\.\/])\b)", L"$1 ");
    add(LR"(\s+)", L" ");
    add(LR"(^["']([\w\W]+)["']$)", L"$1");
    add(LR"(^['_,\-:;])", L"");
    add(LR"(['_,\-:+]$)", L"");
    add(LR"(^\.\S+$)", L"");
    return list;
  }();
  return rules;
}

std::wstring apply(const std::vector<Rule>& rules, std::wstring text) {
  for (const Rule& rule : rules) text = std::regex_replace(text, rule.pattern, rule.replacement);
  return text;
}

bool is_dash(char32_t c) {
  return c == 0x58A || c == 0x5BE || c == 0x1400 || c == 0x1806 || (c >= 0x2010 && c <= 0x2015) ||
         c == 0x2E17 || c == 0x2E1A || c == 0x2E3A || c == 0x2E3B || c == 0x2E40 || c == 0x301C ||
         c == 0x3030 || c == 0x30A0 || c == 0xFE31 || c == 0xFE32 || c == 0xFE58 || c == 0xFE63 ||
         c == 0xFF0D;
}

// Real words are shorter. On a longer one the rules would take quadratic time.
constexpr size_t max_word = 200;

// Converts to lower case, removes CJK strokes and ideographs and the rest of words that are too long, and
// replaces every kind of dash, quote and white space by one.
std::wstring normalise(std::string_view utf8) {
  std::wstring out;
  size_t word = 0;
  for (char32_t c : decode_utf8_lossy(utf8)) {
    word = is_space(c) ? 0 : word + 1;
    if (word > max_word) continue;
    c = to_lower(c);
    if ((c >= 0x31C0 && c <= 0x4DFF) || (c >= 0x4E00 && c <= 0x9FFF)) continue;
    if (is_dash(c)) c = U'-';
    if (c == U'`' || c == 0xB4 || c == 0xAB || c == 0xBB || c == 0x201C || c == 0x201D || c == 0xA8) c = U'"';
    if (c == 0x2018 || c == 0x2019) c = U'\'';
    if (is_space(c)) c = U' ';
    if (c == U'-' && !out.empty() && out.back() == L'-') continue;
    out += static_cast<wchar_t>(c);
  }
  return out;
}

std::string narrow(const std::wstring& text) {
  return encode_utf8(std::u32string(text.begin(), text.end()));
}

std::wstring widen(std::string_view utf8) {
  const std::u32string text = decode_utf8_lossy(utf8);
  return std::wstring(text.begin(), text.end());
}

// A chain with many hyphens, such as "this-is-a-cat-on-a-mat", is split into words; few hyphens are left as
// spelling.
std::wstring split_chained_words(std::wstring text) {
  if (std::count_if(text.begin(), text.end(), [](wchar_t c) { return c == L'-' || c == L'_'; }) > 3)
    for (wchar_t& c : text)
      if (c == L'-' || c == L'_') c = L' ';
  return text;
}

std::string clean_once(std::string_view utf8) {
  const std::wstring text = split_chained_words(apply(first_rules(), normalise(collapse_whitespace(utf8))));
  const std::string repaired = html_unescape(html_unescape(repair_text(narrow(text))));
  return collapse_whitespace(narrow(apply(last_rules(), widen(collapse_whitespace(repaired)))));
}

}  // namespace

std::string clean_magi_prompt(std::string_view utf8) {
  size_t end = std::min(utf8.size(), max_prompt_bytes);
  while (end < utf8.size() && end > 0 && (static_cast<unsigned char>(utf8[end]) & 0xC0) == 0x80) --end;
  return clean_once(clean_once(utf8.substr(0, end)));
}

}  // namespace flowcache
