// SPDX-License-Identifier: LGPL-2.1-or-later
// Weights as they are downloaded: every format that is read, by tensors that come out, and every way in which a file
// can be wrong, by the sentence that says so.
#include <gtest/gtest.h>

#include "checkpoint_writer.h"
#include "package/deferred.h"
#include "package/naming.h"
#include "package/published_names.h"
#include "package/weights_file.h"
#include "temp_folder.h"

namespace flowcache {
namespace {

using test::message_of;
using test::TempFolder;
using test::TorchFile;

const std::filesystem::path saved = FLOWCACHE_SOURCE_DIR "/tests/checkpoints/torch-save.pt";

struct BadFile {
  const char* name;
  std::string bytes;
  std::vector<std::string> says;
};

void expect_refused(const std::vector<BadFile>& files) {
  const TempFolder folder;
  for (const BadFile& bad : files) {
    const auto file = folder.write("broken.bin", bad.bytes);
    std::string message;
    try {
      read_weights(file);
    } catch (const Error& error) {
      message = error.what();
      EXPECT_EQ(error.status(), FC_ERROR_MODEL) << bad.name;
    }
    EXPECT_NE(message.find("broken.bin"), std::string::npos) << bad.name << ": " << message;
    for (const std::string& part : bad.says)
      EXPECT_NE(message.find(part), std::string::npos)
          << bad.name << " should say " << part << ": " << message;
    EXPECT_LT(message.size(), 600U) << bad.name;
  }
}

TEST(TorchFile, WhatPyTorchSavedComesOut) {
  const WeightMap weights = read_weights(saved);
  const std::string block = "generator.model.blocks.0._fsdp_wrapped_module.";
  const at::Tensor shared = at::arange(24, at::kFloat).view({6, 4});
  EXPECT_TRUE(weights.at(block + "q.weight").equal(shared));
  EXPECT_TRUE(weights.at(block + "k.weight").equal(shared.t()));
  EXPECT_EQ(weights.at(block + "q.weight").const_data_ptr(), weights.at(block + "k.weight").const_data_ptr());
  EXPECT_TRUE(weights.at("generator.model.tail").equal(at::tensor({20.F, 21.F, 22.F, 23.F})));
  EXPECT_TRUE(weights.at("generator.model.half").equal(at::full({3}, 1.5, at::kHalf)));
  EXPECT_TRUE(weights.at("generator.model.brain").equal(at::full({3}, -2.0, at::kBFloat16)));
  EXPECT_TRUE(weights.at("generator.model.parameter").equal(at::tensor({0.25F, 0.5F})));
  EXPECT_EQ(weights.at("generator.model.eight").scalar_type(), at::kFloat8_e4m3fn);
  EXPECT_TRUE(weights.at("generator.model.eight").to(at::kFloat).equal(at::tensor({1.F, -.5F, 448.F})));
  EXPECT_EQ(weights.at("generator.model.empty").sizes(), at::IntArrayRef({0, 3}));
  EXPECT_EQ(weights.at("generator.model.scalar").item<double>(), 7.0);
  EXPECT_TRUE(weights.at("generator.model.count").equal(at::tensor({int64_t{1}, int64_t{-1}})));
  EXPECT_TRUE(weights.at("generator_ema.0.weight").equal(at::full({2, 2}, 3.0)));
  EXPECT_TRUE(weights.at("generator_ema.0.bias").equal(at::full({2}, 4.0)));
  EXPECT_EQ(weights.size(), 12U);
}

TEST(TorchFile, IsMappedAndNotCopied) {
  const at::Tensor tensor = read_weights(saved).at("generator.model.tail");
  EXPECT_TRUE(tensor.has_storage());
  EXPECT_LT(tensor.storage().nbytes(), 100U);
  // What a mapping holds cannot be written to.
  EXPECT_DEATH(tensor.mutable_data_ptr<float>()[0] = 1, "");
}

TEST(TorchFile, EveryPrefixIsRefused) {
  TorchFile file;
  file.add("model/a", at::ones({3}));
  const std::string whole = file.bytes();
  const TempFolder folder;
  EXPECT_EQ(message_of([&] { read_weights(folder.write("whole", whole)); }), "");
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_NE(message_of([&] { read_weights(folder.write("cut", whole.substr(0, n))); }), "") << n;
}

std::string archive_of(const std::string& body, const std::string& storage = std::string(16, '\0')) {
  return test::zip_of({{"a/data.pkl", test::pickle_of(body)}, {"a/data/0", storage}});
}

// A tensor of four floats whose parts can be replaced.
std::string tensor_with(const std::string& size, const std::string& stride, const std::string& offset = "K\0",
                        const std::string& count = "K\4", const std::string& key = "0") {
  using namespace test;
  return "}" + pickled("w") + pickled_global("torch._utils", "_rebuild_tensor_v2") + "((" +
         pickled("storage") + pickled_global("torch", "FloatStorage") + pickled(key) + pickled("cpu") +
         count + "tQ" + (offset == "K\0" ? std::string("K\0", 2) : offset) + size + stride + "\x89}tRs";
}

TEST(TorchFile, RunsNothingAndNamesWhatItWasAskedFor) {
  using namespace test;
  const TempFolder folder;
  const std::string mark = (folder.path / "ran").string();
  const std::string run = pickled_global("posix", "system") + pickled("touch " + mark) + "\x85R";
  TorchFile inside;
  inside.add("model/a", at::ones({3}));
  inside.add_value("args", run);
  expect_refused(
      {{"a function", archive_of(run), {"\"posix.system\"", "nothing of it is run", "state_dict()"}},
       {"beside good tensors", inside.bytes(), {"\"posix.system\""}},
       {"by the newer opcode",
        archive_of(pickled("os") + pickled("system") + "\x93" + pickled("true") + "\x85R"),
        {"\"os.system\""}},
       {"of torch itself", archive_of(pickled_global("torch.hub", "load") + ")R"), {"\"torch.hub.load\""}},
       {"by its class", archive_of("(" + pickled("x") + "ios\nsystem\n"), {"opcode 105"}},
       {"an object",
        archive_of(pickled_global("argparse", "Namespace") + ")\x81"),
        {"\"argparse.Namespace\""}}});
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST(TorchFile, RefusesBrokenOnes) {
  using namespace test;
  const std::string four = pickled_tuple({4}), one = pickled_tuple({1});
  TorchFile twice;
  twice.add("a/b", at::ones({1}));
  twice.add("a.b", at::ones({1}));
  std::string behind = archive_of(tensor_with(four, one));
  const size_t table = behind.rfind("PK\1\2");
  behind.replace(table + 42, 4, raw<uint32_t>(4'000'000'000U));
  std::string longer = archive_of(tensor_with(four, one));
  longer.replace(longer.rfind("PK\1\2") + 20, 8, raw<uint32_t>(4'000'000U) + raw<uint32_t>(4'000'000U));
  std::string entries = archive_of("}");
  entries.replace(entries.size() - 12, 2, raw<uint16_t>(60000));
  expect_refused({
      {"no table", "PK\3\4" + std::string(100, 'x'), {"no table of contents", "fetch it again"}},
      {"compressed", zip_of({{"a/data.pkl", "x"}}, 8), {"\"a/data.pkl\" in it is compressed"}},
      {"a name twice", zip_of({{"a", "x"}, {"a", "y"}}), {"\"a\" is in it twice"}},
      {"an entry behind the end", behind, {"\"a/data/0\" begins behind its end"}},
      {"an entry too long", longer, {"\"a/data/0\" has 4000000 bytes and reaches behind"}},
      {"entries that are not there", entries, {"damaged"}},
      {"no pickle", zip_of({{"readme.txt", "x"}}), {"0 data.pkl", "unpack it"}},
      {"two pickles", zip_of({{"a/data.pkl", "x"}, {"b/data.pkl", "x"}}), {"2 data.pkl"}},
      {"a program", zip_of({{"a/data.pkl", "x"}, {"a/code/x.py", "x"}}), {"TorchScript", "state_dict()"}},
      {"big-endian", zip_of({{"a/data.pkl", "x"}, {"a/byteorder", "big"}}), {"big-endian"}},
      {"an empty pickle", zip_of({{"a/data.pkl", ""}}), {"its pickle ends"}},
      {"takes what is not there", archive_of("Rq\1"), {"takes more values than it has put down"}},
      {"a mark that is not there", archive_of("t"), {"takes more values"}},
      {"below a mark", archive_of("}(" + pickled("a") + "Qs"), {"takes more values"}},
      {"a reference to nothing", archive_of("h\5"), {"refers to value 5"}},
      {"a text of gigabytes", archive_of("X" + raw<uint32_t>(0xfffffff0U)), {"4294967280 more bytes"}},
      {"a newer protocol", zip_of({{"a/data.pkl", "\x80\x09N."}}), {"protocol 9"}},
      {"a number of bytes", archive_of("\x8a\x7f"), {"number of 127 bytes"}},
      {"a key without a value", archive_of("}(" + pickled("a") + "u"), {"key without a value"}},
      {"items of a number", archive_of("K\1" + pickled("a") + "Ns"), {"items of what is no dict"}},
      {"a name twice by dots", twice.bytes(), {"\"a.b\" twice"}},
      {"too many elements",
       archive_of(tensor_with(pickled_tuple({5}), one)),
       {"more elements than its storage of 4"}},
      {"elements behind the storage",
       archive_of(tensor_with(four, pickled_tuple({2}))),
       {"reaches behind its storage"}},
      {"an offset behind it", archive_of(tensor_with(four, one, "K\1")), {"reaches behind its storage"}},
      {"strides that overflow",
       archive_of(tensor_with(pickled_tuple({2, 2}), "(\x8a\x08" + raw<int64_t>(INT64_MAX) + "\x8a\x08" +
                                                         raw<int64_t>(INT64_MAX) + "t")),
       {"reaches behind its storage"}},
      {"sizes that overflow",
       archive_of(
           tensor_with("(\x8a\x08" + raw<int64_t>(INT64_MAX) + "\x8a\x08" + raw<int64_t>(INT64_MAX) + "t",
                       pickled_tuple({0, 0}))),
       {"more elements"}},
      {"a row repeated for ever",
       archive_of(
           tensor_with("(\x8a\x05" + raw<int64_t>(int64_t{1} << 36).substr(0, 5) + "t", pickled_tuple({0}))),
       {"more elements"}},
      {"a negative size", archive_of(tensor_with(pickled_tuple({-4}), one)), {"no number of 0 or more"}},
      {"more sizes than strides",
       archive_of(tensor_with(pickled_tuple({2, 2}), one)),
       {"2 sizes has 1 strides"}},
      {"a storage too short",
       archive_of(tensor_with(four, one), std::string(12, '\0')),
       {"12 bytes, too few for 4"}},
      {"a storage of a negative size",
       archive_of(tensor_with(four, one, "K\0", pickled(-1))),
       {"too few for -1"}},
      {"a storage that is missing",
       archive_of(tensor_with(four, one, "K\0", "K\4", "7")),
       {"storage \"7\" is missing"}},
      {"nested without an end",
       [] {
         std::string deep;
         for (int i = 0; i < 1000; ++i) deep += "}" + pickled("a");
         return archive_of(deep + "N" + std::string(1000, 's'));
       }(),
       {"nested too deep"}},
      {"a dict in itself", archive_of("}q\1" + pickled("a") + "h\1s"), {"nested too deep"}},
      // Eight levels of 64 references to the next are more tensors than any memory holds.
      {"references of references",
       [] {
         std::string body = "}q\1";
         for (char level = 1; level < 8; ++level) {
           body += "}q" + std::string(1, static_cast<char>(level + 1)) + "(";
           for (int i = 0; i < 64; ++i) body += pickled(std::to_string(i)) + "h" + std::string(1, level);
           body += "u";
         }
         return archive_of(body);
       }(),
       {"nested too deep"}},
  });
}

TEST(WeightsFile, SaysWhatElseAFileIs) {
  std::string tar(600, '\0');
  tar.replace(257, 5, "ustar");
  expect_refused({
      {"a pointer",
       "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n",
       {"Git LFS", "git lfs pull"}},
      {"a web page", "<!DOCTYPE html><html>Access denied</html>", {"web page", "login"}},
      {"before PyTorch 1.6", "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", {"bare pickle", "torch.save"}},
      {"a tar", tar, {"tar archive", "torch.save"}},
      {"gzip", "\x1f\x8b\x08 and more", {"packed archive"}},
      {"zstd, as MAGI-1 has it", "\x28\xb5\x2f\xfd and more", {"packed archive", "unpack it"}},
      {"nothing of these", "nonsense and more of it", {"not safetensors"}},
  });
}

TEST(WeightsFile, ReadsNumpysArrays) {
  const TempFolder folder;
  const auto array = [](const std::string& type, const std::string& shape, const std::string& data) {
    std::string text = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
    text.resize(118 - 1, ' ');
    return "\x93NUMPY\x01" + std::string(1, '\0') + test::raw<uint16_t>(118) + text + "\n" + data;
  };
  const at::Tensor values = at::arange(6, at::kFloat).view({2, 3});
  const auto npz = folder.write(
      "tokens.npz", test::zip_of({{"other_tokens.npy", array("<f4", "(2, 3)", test::bytes_of(values))},
                                  {"one.npy", array("<f2", "(1,)", std::string(2, '\0'))}}));
  const WeightMap weights = read_weights(npz);
  EXPECT_TRUE(weights.at("other_tokens").equal(values));
  EXPECT_EQ(weights.at("one").sizes(), at::IntArrayRef({1}));
  const auto zip = [&](const std::string& type, const std::string& shape, size_t bytes) {
    return test::zip_of({{"a.npy", array(type, shape, std::string(bytes, '\0'))}});
  };
  expect_refused(
      {{"too short", zip("<f4", "(2, 3)", 20), {"(2, 3)", "20 bytes"}},
       {"of objects", zip("|O", "(2,)", 16), {"'|O'", "no weight"}},
       {"of no shape", zip("<f4", "x", 16), {"has no shape"}},
       {"of another shape", zip("<f4", "(2, -3)", 24), {"has the shape"}},
       {"of a huge one", zip("<f4", "(999999999999999999, 999999999999999999)", 24), {"24 bytes"}}});
}

TEST(Gguf, ReadsPlainAndQuantizedTensors) {
  const TempFolder folder;
  at::manual_seed(1);
  const at::Tensor plain = at::randn({3, 4, 2}), half = at::randn({5}).to(at::kHalf),
                   brain = at::randn({2, 2}).to(at::kBFloat16);
  const at::Tensor matrix = at::randn({6, 96});
  // The shape of a convolution is kept beside its tensor, which ggml holds in fewer dimensions.
  const std::string shape = test::gguf_text("comfy.gguf.orig_shape.q") + test::raw<uint32_t>(9) +
                            test::raw<uint32_t>(5) + test::raw<uint64_t>(3) + test::raw<int32_t>(3) +
                            test::raw<int32_t>(2) + test::raw<int32_t>(96);
  const std::string name =
      test::gguf_text("general.architecture") + test::raw<uint32_t>(8) + test::gguf_text("wan");
  const std::string lists = test::gguf_text("x") + test::raw<uint32_t>(9) + test::raw<uint32_t>(8) +
                            test::raw<uint64_t>(2) + test::gguf_text("a") + test::gguf_text("b");
  const auto file = folder.write(
      "w.gguf", test::gguf_of({test::gguf_tensor("plain", plain), test::gguf_tensor("half", half),
                               test::gguf_tensor("brain", brain), test::gguf_q8_0("q", matrix),
                               test::gguf_q8_0("m", matrix)},
                              {name, shape, lists}));
  const WeightMap weights = read_weights(file);
  EXPECT_TRUE(weights.at("plain").equal(plain));
  EXPECT_TRUE(weights.at("half").equal(half));
  EXPECT_TRUE(weights.at("brain").equal(brain));
  EXPECT_EQ(weights.at("m").sizes(), matrix.sizes());
  EXPECT_EQ(weights.at("q").sizes(), at::IntArrayRef({3, 2, 96}));
  const at::Tensor m = dense(weights.at("m"));
  // A value is at most half a step, of which 127 are the largest of its block, away; and the step is rounded to fp16.
  const at::Tensor step = matrix.view({6, 3, 32}).abs().amax({2}, true) / 127;
  EXPECT_TRUE(((m - matrix).view({6, 3, 32}).abs() <= 0.5 * step + 127 * step * 0x1p-11).all().item<bool>());
  EXPECT_TRUE(dense(weights.at("q")).view({6, 96}).equal(m));
  EXPECT_TRUE(dense(weights.at("m"), at::kBFloat16).equal(m.to(at::kBFloat16)));
  EXPECT_THROW(weights.at("m").sum().item<float>(), std::exception) << "a stand-in has no data";
}

// A file of the format's own library, and what that makes of it.
TEST(Gguf, WhatItsLibraryWroteComesOut) {
  const std::filesystem::path folder = FLOWCACHE_SOURCE_DIR "/tests/checkpoints";
  const WeightMap weights = read_weights(folder / "gguf-py.gguf"),
                  values = read_weights(folder / "gguf-py.npz");
  ASSERT_EQ(weights.size(), 4U);
  for (const auto& [name, tensor] : weights) {
    EXPECT_EQ(tensor.sizes(), values.at(name).sizes()) << name;
    EXPECT_TRUE(dense(tensor).to(at::kFloat).equal(values.at(name))) << name;
  }
  EXPECT_EQ(weights.at("blocks.0.half").scalar_type(), at::kHalf);
  EXPECT_TRUE(weights.at("blocks.0.q.weight").is_meta());
}

TEST(Gguf, RefusesBrokenOnes) {
  using namespace test;
  const at::Tensor one = at::ones({4});
  const GgufTensor good = gguf_tensor("w", one);
  const auto with = [&](auto change) {
    GgufTensor other = good;
    change(other);
    return gguf_of({other});
  };
  const std::string start = "GGUF" + raw<uint32_t>(3);
  const auto note = [](uint32_t kind, const std::string& value) {
    return gguf_of({}, {gguf_text("n") + raw(kind) + value});
  };
  expect_refused({
      {"cut off", "GGUF\3", {"more bytes are announced"}},
      {"of the first version", "GGUF" + raw<uint32_t>(1) + std::string(16, '\0'), {"version 1"}},
      {"big-endian", "GGUF" + raw<uint32_t>(3U << 24) + std::string(16, '\0'), {"big-endian"}},
      {"tensors without an end",
       start + raw<uint64_t>(UINT64_MAX) + raw<uint64_t>(0),
       {"18446744073709551615 tensors"}},
      {"notes without an end",
       start + raw<uint64_t>(0) + raw<uint64_t>(UINT64_MAX),
       {"18446744073709551615 notes"}},
      {"a name of exabytes",
       start + raw<uint64_t>(0) + raw<uint64_t>(1) + raw<uint64_t>(UINT64_MAX) + std::string(40, 'x'),
       {"18446744073709551615 more bytes"}},
      {"a list of exabytes", note(9, raw<uint32_t>(10) + raw<uint64_t>(UINT64_MAX / 4)), {"a list of"}},
      {"texts without an end", note(9, raw<uint32_t>(8) + raw<uint64_t>(UINT64_MAX / 4)), {"a list of"}},
      {"an unknown note", note(77, ""), {"unknown kind 77"}},
      {"lists in lists",
       [&] {
         std::string deep;
         for (int i = 0; i < 100; ++i) deep += raw<uint32_t>(9) + raw<uint64_t>(1);
         return note(9, deep);
       }(),
       {"unknown kind 9"}},
      {"aligned by nothing",
       gguf_of({}, {gguf_text("general.alignment") + raw<uint32_t>(4) + raw<uint32_t>(0)}),
       {"aligns its data by 0"}},
      {"Q4_K", with([](GgufTensor& w) { w.type = 12; }), {"\"w\" is stored as Q4_K", "Q8_0 are read"}},
      {"an unknown type", with([](GgufTensor& w) { w.type = 99; }), {"type 99"}},
      {"Q8_0 of four values", with([](GgufTensor& w) { w.type = 8; }), {"rows of 4 values"}},
      {"too many dimensions", with([](GgufTensor& w) { w.sizes.assign(9, 1); }), {"9 dimensions"}},
      {"a size beyond int64", with([](GgufTensor& w) { w.sizes = {UINT64_MAX}; }), {"18446744073709551615"}},
      {"sizes that overflow",
       with([](GgufTensor& w) {
         w.sizes = {uint64_t{1} << 62, uint64_t{1} << 62};
       }),
       {"no memory holds"}},
      {"sizes that overflow as bytes",
       with([](GgufTensor& w) { w.sizes = {uint64_t{1} << 62}; }),
       {"no memory holds"}},
      {"an overflow hidden by a zero",
       with([](GgufTensor& w) {
         w.sizes = {uint64_t{1} << 62, uint64_t{1} << 62, 0};
       }),
       {"no memory holds"}},
      {"an offset behind the end", with([](GgufTensor& w) { w.offset = 1 << 20; }), {"behind its end"}},
      {"an offset that overflows",
       with([](GgufTensor& w) { w.offset = UINT64_MAX - 1; }),
       {"behind its end"}},
      {"more values than there are",
       with([](GgufTensor& w) { w.sizes = {5}; }),
       {"20 bytes and reaches behind"}},
      {"a name twice", gguf_of({good, good}), {"\"w\" twice"}},
      {"another original shape",
       gguf_of({good}, {gguf_text("comfy.gguf.orig_shape.w") + raw<uint32_t>(9) + raw<uint32_t>(5) +
                        raw<uint64_t>(1) + raw<int32_t>(5)}),
       {"another number of values"}},
  });
}

TEST(Gguf, EveryPrefixIsRefused) {
  const TempFolder folder;
  const std::string whole = test::gguf_of({test::gguf_tensor("w", at::ones({3, 2}))});
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_NE(message_of([&] { read_weights(folder.write("cut", whole.substr(0, n))); }), "") << n;
}

TEST(Scales, BecomeOneWeightWithTheirMatrix) {
  const at::Tensor eight = at::tensor({1.F, 2.F, -4.F, 0.5F, 448.F, 0.F}).view({2, 3}).to(at::kFloat8_e4m3fn);
  const auto joined = [&](const std::string& name, const at::Tensor& scale) {
    WeightMap weights = {{"a.weight", eight},
                         {"a." + name, scale},
                         {"a.bias", at::ones({2})},
                         {"scaled_fp8", at::zeros({2}).to(at::kFloat8_e4m3fn)},
                         {"a.scale_input", at::ones({})},
                         {"spiece_model", at::zeros({9}, at::kByte)}};
    join_scales(weights, "x");
    EXPECT_EQ(weights.size(), 2U) << name;
    EXPECT_EQ(weights.at("a.weight").sizes(), eight.sizes());
    return dense(weights.at("a.weight"));
  };
  const at::Tensor wide = eight.to(at::kFloat), rows = at::tensor({0.5F, 3.F});
  EXPECT_TRUE(joined("scale_weight", at::tensor(0.25F)).equal(wide * 0.25));
  EXPECT_TRUE(joined("scale_weight", at::tensor({0.25F})).equal(wide * 0.25));
  EXPECT_TRUE(joined("weight_scale", rows).equal(wide * rows.view({2, 1})));
  EXPECT_TRUE(joined("weight_scale", rows.view({2, 1})).equal(wide * rows.view({2, 1})));
  EXPECT_TRUE(joined("weight_scale", rows.view({2, 1}).to(at::kBFloat16)).equal(wide * rows.view({2, 1})));
}

// Weights of more rows than are computed at once.
TEST(Scales, HoldInEverySlice) {
  at::manual_seed(2);
  const at::Tensor stored = at::randint(-127, 127, {3000, 3000}, at::kChar), rows = at::rand({3000, 1});
  EXPECT_TRUE(dense(scaled_weight(stored, rows, stored.sizes())).equal(stored.to(at::kFloat) * rows));
  EXPECT_TRUE(
      dense(scaled_weight(stored, rows[0][0], stored.sizes())).equal(stored.to(at::kFloat) * rows[0][0]));
}

TEST(Scales, ThatDoNotFitAreNamed) {
  const at::Tensor eight = at::ones({4, 3}).to(at::kFloat8_e4m3fn);
  const std::pair<WeightMap, std::vector<const char*>> table[] = {
      {{{"a.weight", eight}, {"a.scale_weight", at::ones({2, 2})}}, {"\"a.scale_weight\" has 4 values"}},
      {{{"a.weight", eight}, {"a.weight_scale", at::ones({2})}}, {"has 2 values", "each of 4 rows"}},
      {{{"a.scale_weight", at::ones({})}}, {"a weight that is not there"}},
      {{{"a.weight", at::ones({4, 3})}, {"a.scale_weight", at::full({}, 2.0)}}, {"not in 8 bits"}},
      {{{"a.weight", eight}, {"a.scale_weight", at::ones({})}, {"b.weight", eight}},
       {"\"b.weight\" is in fp8", "no scale"}},
      {{{"b.weight", eight}, {"scaled_fp8", eight}}, {"\"b.weight\" is in fp8"}},
      {{{"a.weight", eight}, {"a.scale_weight", at::ones({}, at::kInt)}}, {"type that is not known"}},
  };
  for (const auto& [weights, parts] : table) {
    const std::string message = message_of([&, &weights = weights] {
      WeightMap copy = weights;
      join_scales(copy, "model.safetensors");
    });
    for (const char* part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  }
  WeightMap plain = {{"a.weight", eight}};  // fp8 that was only rounded has none
  EXPECT_NO_THROW(join_scales(plain, "x"));
  EXPECT_EQ(plain.size(), 1U);
}

const std::vector<WeightSpec> three = {
    {"patch.weight", {1}}, {"blocks.0.q.weight", {1}}, {"head.weight", {1}}};

WeightMap three_under(const std::string& prefix, const std::string& middle = "") {
  WeightMap weights;
  for (std::string name : {"patch.weight", "blocks.0.q.weight", "head.weight"}) {
    if (!middle.empty() && name.starts_with("blocks")) name.insert(name.find("q."), middle);
    weights[prefix + name] = at::full({1}, 5.0);
  }
  return weights;
}

TEST(Names, AnyPrefixAndWrapperIsTakenOff) {
  for (const char* prefix : {"", "model.", "generator.", "generator_ema.model.", "model.diffusion_model.",
                             "module.", "anything.at.all."})
    for (const char* middle : {"", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."}) {
      const WeightMap own = renamed(three_under(std::string("_orig_mod.") + prefix, middle), three, {}, "x");
      for (const WeightSpec& spec : three)
        EXPECT_TRUE(own.contains(spec.name)) << prefix << middle << spec.name;
      EXPECT_EQ(own.size(), 3U);
    }
}

TEST(Names, OtherNetworksInTheFileAreLeftOutAndMissingKeysKept) {
  WeightMap weights = three_under("model.");
  weights["vae.conv.weight"] = at::ones({1});
  weights["model.extra"] = at::ones({1});
  weights.erase("model.head.weight");
  const WeightMap own = renamed(weights, three, {}, "x");
  EXPECT_EQ(own.size(), 3U);
  EXPECT_TRUE(own.contains("extra") && own.contains("patch.weight"));
}

TEST(Names, AFileWithTheNetworkTwiceAsksWhich) {
  WeightMap weights = three_under("generator.model.");
  weights.merge(three_under("generator_ema.model."));
  const std::string message = message_of([&] { renamed(weights, three, {}, "transformer of m.json"); });
  for (const char* part :
       {"transformer of m.json", "2 times", "\"generator\" and \"generator_ema\"", "\"key\": \"generator\""})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  EXPECT_EQ(renamed(under_key(weights, "generator_ema", "x"), three, {}, "x").size(), 3U);
  const std::string unknown = message_of([&] { under_key(weights, "critic", "x"); });
  EXPECT_NE(unknown.find("no \"critic\""), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("\"generator\", \"generator_ema\""), std::string::npos) << unknown;
}

TEST(Names, TwoTensorsOfOneNameAreRefused) {
  WeightMap weights = three_under("");
  weights["blocks.0._orig_mod.q.weight"] = at::ones({1});
  EXPECT_NE(message_of([&] {
              renamed(weights, three, {}, "x");
            }).find("two tensors are called \"blocks.0.q.weight\""),
            std::string::npos);
}

TEST(Names, AnotherLayoutGetsOneSentence) {
  std::vector<WeightSpec> wanted;
  WeightMap weights;
  for (int i = 0; i < 150; ++i) {
    wanted.push_back({"blocks." + std::to_string(i) + ".q", {1}});
    weights["layers." + std::to_string(i) + ".to_q"] = at::ones({1});
  }
  const std::string message =
      message_of([&] { check_weights(renamed(weights, wanted, {}, "x"), wanted, "transformer"); });
  for (const char* part :
       {"none of the 150 keys", "layers.0.to_q, layers.1.to_q", "blocks.0.q, blocks.1.q", "another model"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 0);
  EXPECT_LT(message.size(), 500U);
  // Where some keys fit, the first of the others are named.
  weights["blocks.0.q"] = at::ones({1});
  const std::string list = message_of([&] { check_weights(weights, wanted, "transformer"); });
  EXPECT_NE(list.find("149 missing:\n  blocks.1.q"), std::string::npos) << list;
  EXPECT_NE(list.find("… and 141 more"), std::string::npos) << list;
  EXPECT_LT(std::count(list.begin(), list.end(), '\n'), 25);
}

}  // namespace
}  // namespace flowcache
