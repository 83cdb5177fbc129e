// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "package/deferred.h"
#include "package/safetensors.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

using test::message_of;
using test::TempFolder;

std::string file_of(const std::string& header, size_t data_bytes, uint64_t claimed = 0) {
  const uint64_t size = claimed ? claimed : header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  bytes += header;
  for (size_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i);
  return bytes;
}

TEST(Safetensors, ReadsTensors) {
  const TempFolder folder;
  const float values[] = {1.5f, -2.f, 3.f, 4.f};
  std::string bytes = file_of(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,2],"data_offsets":[3,19]},)"
      R"("a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"none":{"dtype":"BF16","shape":[0,7],"data_offsets":[19,19]}}   )",
      19);
  std::memcpy(bytes.data() + bytes.size() - 16, values, 16);
  const WeightMap map = read_safetensors(folder.write("ok.safetensors", bytes));
  ASSERT_EQ(map.size(), 3u);
  EXPECT_TRUE(map.at("b").equal(at::tensor({1.5f, -2.f, 3.f, 4.f}).view({2, 2})));  // not aligned in the file
  EXPECT_TRUE(map.at("a").equal(at::tensor({0, 1, 2}, at::kByte)));
  EXPECT_EQ(map.at("none").sizes(), at::IntArrayRef({0, 7}));
  EXPECT_EQ(map.at("none").scalar_type(), at::kBFloat16);
}

// MB of files that are resident in this process.
double resident_files() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssFile:")) return std::stod(line.substr(8)) / 1024;
  return -1;
}

TEST(Safetensors, TheMemoryOfATensorGoesWithIt) {
  const TempFolder folder;
  constexpr size_t size = 32 << 20;
  std::string bytes = file_of(R"({"a":{"dtype":"U8","shape":[33554432],"data_offsets":[0,33554432]},)"
                              R"("b":{"dtype":"U8","shape":[33554432],"data_offsets":[33554432,67108864]}})",
                              0);
  bytes.append(size, '\1').append(size, '\2');
  WeightMap map = read_safetensors(folder.write("two.safetensors", bytes));
  const double before = resident_files();
  ASSERT_GE(before, 0);
  const auto sum = [](const at::Tensor& tensor) { return tensor.sum(at::kLong).item<int64_t>(); };
  at::Tensor part = map.at("a").narrow(0, 5, 100);
  EXPECT_EQ(sum(taken(map, "a")), int64_t{size});
  EXPECT_FALSE(map.contains("a"));
  EXPECT_GT(resident_files(), before + 24) << "another tensor still uses these bytes";
  part.reset();
  EXPECT_LT(resident_files(), before + 8);
  EXPECT_EQ(sum(map.at("b")), 2 * int64_t{size}) << "its neighbour is still there";
}

TEST(Safetensors, AWeightIsTakenOnce) {
  WeightMap map = {{"a", at::ones({2})}};
  EXPECT_TRUE(taken(map, "a").equal(at::ones({2})));
  EXPECT_NE(message_of([&] { taken(map, "a"); }).find("the weight a is taken twice"), std::string::npos);
}

TEST(Safetensors, TensorsOutliveTheMap) {
  const TempFolder folder;
  at::Tensor a;
  {
    a = read_safetensors(
            folder.write("x", file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4)))
            .at("a");
    std::filesystem::remove(folder.path / "x");
  }
  EXPECT_EQ(a.sum().item<int64_t>(), 6);
}

struct BrokenFile {
  const char* name;
  std::string bytes;
  std::vector<std::string> says;
};

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets,
                size_t bytes = 16) {
  return file_of("{\"w\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}",
                 bytes);
}

std::vector<BrokenFile> broken_files() {
  const std::string f32 = "\"F32\"";
  return {
      {"empty", "", {"has 0 bytes"}},
      {"only a length", std::string(8, '\1'), {"has 8 bytes"}},
      {"header longer than the file", file_of("{}", 0, 1000), {"1000 bytes", "2 is the most"}},
      {"header of exabytes", file_of("{}", 4, UINT64_MAX), {"18446744073709551615"}},
      {"not JSON", file_of("{\"w\":", 4), {"not valid JSON"}},
      {"JSON and more", file_of("{} {}", 0), {"not valid JSON"}},
      {"an array", file_of("[1, 2]", 0), {"not a JSON object"}},
      {"not UTF-8", file_of("{\"w\xff\":1}", 0), {"bad UTF-8"}},
      {"deep nesting", file_of(std::string(100000, '['), 0), {"nested deeper"}},
      {"a key twice",
       file_of(
           R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
           4),
       {"\"w\" occurs twice"}},
      {"a field twice",
       file_of(R"({"w":{"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,4]}})", 4),
       {"\"dtype\" occurs twice"}},
      {"tensor is a number", file_of(R"({"w":5})", 0), {"\"w\"", "not by an object"}},
      {"no dtype", file_of(R"({"w":{"shape":[4],"data_offsets":[0,4]}})", 4), {"\"w\" has no dtype"}},
      {"no offsets", file_of(R"({"w":{"dtype":"U8","shape":[4]}})", 4), {"has no data_offsets"}},
      {"unknown dtype", one("\"F31\"", "[4]", "[0,16]"), {"\"F31\"", "BF16"}},
      {"dtype is a number", one("7", "[4]", "[0,16]"), {"dtype 7"}},
      {"negative size", one(f32, "[-4]", "[0,16]"), {"shape [-4]"}},
      {"fractional size", one(f32, "[4.5]", "[0,16]"), {"shape [4.5]"}},
      {"shape is a word", one(f32, "\"4\"", "[0,16]"), {"shape \"4\""}},
      {"overflow", one(f32, "[4294967296,4294967296,4]", "[0,16]"), {"more than any memory"}},
      {"overflow hidden by a zero",
       one(f32, "[9223372036854775807,9223372036854775807,0]", "[0,0]", 0),
       {"more than any memory"}},
      {"size beyond int64", one(f32, "[9223372036854775808]", "[0,16]"), {"shape"}},
      {"seventeen dimensions", one(f32, "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]", "[0,16]"), {"at most 16"}},
      {"truncated", one(f32, "[4]", "[0,16]", 12), {"[0,16]", "12 bytes of data"}},
      {"offsets reversed", one(f32, "[4]", "[16,0]"), {"data_offsets [16,0]"}},
      {"negative offset", one(f32, "[4]", "[-16,0]"), {"data_offsets [-16,0]"}},
      {"three offsets", one(f32, "[4]", "[0,8,16]"), {"wanted [begin, end]"}},
      {"shape and offsets disagree", one(f32, "[3]", "[0,16]"), {"takes 12 bytes", "span 16"}},
      {"overlap",
       file_of(
           R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
           6),
       {"\"a\" and \"b\" overlap"}},
      {"hole",
       file_of(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})",
           6),
       {"bytes 2 to 4", "no tensor"}},
      {"data left over", one(f32, "[4]", "[0,16]", 20), {"take 16 bytes", "20 bytes of data"}},
  };
}

TEST(Safetensors, RefusesBrokenFiles) {
  const TempFolder folder;
  for (const BrokenFile& broken : broken_files()) {
    const auto file = folder.write("broken.safetensors", broken.bytes);
    const std::string message = message_of([&] { read_safetensors(file); });
    EXPECT_NE(message.find("broken.safetensors"), std::string::npos) << broken.name << ": " << message;
    for (const std::string& part : broken.says)
      EXPECT_NE(message.find(part), std::string::npos)
          << broken.name << " should say " << part << ": " << message;
    EXPECT_LT(message.size(), 600u) << broken.name;
  }
}

// A good file that is cut at any place is refused.
TEST(Safetensors, RefusesEveryPrefix) {
  const TempFolder folder;
  const std::string whole = one("\"F32\"", "[4]", "[0,16]");
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_NE(message_of([&] { read_safetensors(folder.write("cut", whole.substr(0, n))); }), "") << n;
}

TEST(Safetensors, MissingFileIsNotFound) {
  try {
    read_safetensors("/nowhere/at/all.safetensors");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_NOT_FOUND);
  }
  EXPECT_NE(message_of([] { read_safetensors(std::filesystem::temp_directory_path()); }), "") << "a folder";
}

TEST(CheckWeights, ListsEverythingAtOnce) {
  const WeightMap map = {{"a", at::zeros({2, 3})},
                         {"b", at::zeros({4})},
                         {"c", at::zeros({1}, at::kLong)},
                         {"x", at::zeros({5})}};
  const std::string message = message_of([&] {
    check_weights(
        map,
        {{"a", {2, -1}}, {"b", {5}}, {"c", {1}}, {"d", {6, 7}}, {"e", {1}}, {"f", {1}, /*optional=*/true}},
        "net");
  });
  for (const char* part : {"net:", "2 missing:\n  d [6, 7]\n  e [1]", "b is [4], wanted [5]", "c holds",
                           "1 unexpected:\n  x [5]"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  EXPECT_EQ(message.find("  a "), std::string::npos);
  EXPECT_EQ(message.find("  f "), std::string::npos);
  EXPECT_NO_THROW(check_weights({{"a", at::zeros({2, 3})}}, {{"a", {2, 3}}}, "net"));
}

}  // namespace
}  // namespace flowcache
