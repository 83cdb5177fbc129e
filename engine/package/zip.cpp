// SPDX-License-Identifier: LGPL-2.1-or-later
// APPNOTE.TXT of PKWARE, 4.3 (records), 4.4.8 and 4.5.3 (sizes of 64 bits).
#include "package/zip.h"

#include <algorithm>

#include "base/error.h"
#include "package/bytes.h"

namespace flowcache {
namespace {

constexpr uint64_t end_record = 22, longest_comment = 65535, local_header = 30;
constexpr uint32_t end_mark_64 = 0x06064b50, locator_mark_64 = 0x07064b50, entry_mark = 0x02014b50,
                   local_mark = 0x04034b50;
constexpr uint32_t in_extra = 0xffffffff;  // the figure has 64 bits and stands in the extra field

[[noreturn]] void damaged(const Mapping& archive, const std::string& why) {
  throw Error(FC_ERROR_MODEL,
              archive.file().string() + ": " + why +
                  "; the zip archive is damaged or was not downloaded to its end: fetch it again");
}

struct Directory {
  uint64_t begin = 0, bytes = 0, entries = 0;
};

// The end of the archive says where its directory is.
Directory directory_of(const Mapping& archive) {
  const auto fail = [&](const std::string& why) { damaged(archive, why); };
  const std::string_view whole = archive.text(0, archive.size());
  if (archive.size() < end_record)
    fail("has " + std::to_string(archive.size()) + " bytes, too few for a zip archive");
  const uint64_t last = archive.size() - end_record;
  uint64_t at = last;
  while (archive.text(at, 4) != "PK\5\6") {
    if (at == 0 || last - at >= longest_comment) fail("has no table of contents at its end");
    --at;
  }
  Bytes record(whole.substr(at), fail);
  record.skip(10);  // the mark, and which disk
  Directory found;
  found.entries = record.u16();
  found.bytes = record.u32();
  found.begin = record.u32();
  const bool wide_figures = found.entries == 0xffff || found.bytes == in_extra || found.begin == in_extra;
  if (!wide_figures || at < 20) return found;
  Bytes locator(whole.substr(at - 20, 20), fail);
  if (locator.u32() != locator_mark_64) return found;
  locator.skip(4);
  const uint64_t place = locator.u64();
  if (place > archive.size()) fail("its end names byte " + std::to_string(place) + ", behind the last one");
  Bytes wide(whole.substr(place), fail);
  if (wide.u32() != end_mark_64) fail("its end is damaged");
  wide.skip(28);
  found.entries = wide.u64();
  found.bytes = wide.u64();
  found.begin = wide.u64();
  return found;
}

// Replaces the figures that do not fit 32 bits by those of the extra field. They stand there in this order.
void read_extra(Bytes extra, uint64_t& size, uint64_t& packed, uint64_t& offset) {
  while (extra.left() >= 4) {
    const uint16_t kind = extra.u16();
    Bytes field = extra.part(extra.u16());
    if (kind != 1) continue;
    for (uint64_t* figure : {&size, &packed, &offset})
      if (*figure == in_extra) *figure = field.u64();
  }
}

}  // namespace

std::map<std::string, ZipEntry> read_zip(const Mapping& archive) {
  const auto fail = [&](const std::string& why) { damaged(archive, why); };
  const Directory directory = directory_of(archive);
  if (directory.begin > archive.size() || directory.bytes > archive.size() - directory.begin)
    fail("its table of contents lies behind its end");
  Bytes table(archive.text(directory.begin, directory.bytes), fail);
  std::map<std::string, ZipEntry> files;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (table.u32() != entry_mark) fail("its table of contents is damaged at entry " + std::to_string(i));
    table.skip(4);
    const uint16_t flags = table.u16(), method = table.u16();
    table.skip(8);
    uint64_t packed = table.u32(), size = table.u32();
    const uint16_t name_bytes = table.u16(), extra_bytes = table.u16(), comment_bytes = table.u16();
    table.skip(8);
    uint64_t offset = table.u32();
    const std::string name(table.text(name_bytes));
    read_extra(table.part(extra_bytes), size, packed, offset);
    table.skip(comment_bytes);
    if (flags & 1) fail(in_quotes(name) + " in it is encrypted");
    if (method != 0 || packed != size)
      throw Error(FC_ERROR_MODEL,
                  archive.file().string() + ": " + in_quotes(name) +
                      " in it is compressed, which torch.save and numpy.savez never do; unpack the "
                      "archive, if it is one of a download, and name what is in it");
    if (offset > archive.size() || archive.size() - offset < local_header)
      fail(in_quotes(name) + " begins behind its end");
    Bytes local(archive.text(offset, archive.size() - offset), fail);
    if (local.u32() != local_mark) fail(in_quotes(name) + " has no header where it should begin");
    local.skip(22);
    const uint64_t begin = offset + local_header + local.u16() + local.u16();
    if (begin > archive.size() || size > archive.size() - begin)
      fail(in_quotes(name) + " has " + std::to_string(size) + " bytes and reaches behind its end");
    if (!files.emplace(name, ZipEntry{begin, size}).second) fail(in_quotes(name) + " is in it twice");
  }
  return files;
}

}  // namespace flowcache
