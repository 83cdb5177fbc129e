/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Generated frames as PPM pictures, with nothing but flowcache.h:
 *
 *   cc frames.c $(pkg-config --cflags --libs flowcache) -o frames
 *   GOMP_SPINCOUNT=1000 ./frames "orange fire" 3 fire     three chunks: fire-0000.ppm, fire-0001.ppm, …
 */
#include <flowcache.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char* what) {
  fprintf(stderr, "frames: %s: %s\n", what, fc_last_error());
  return 1;
}

/* Every frame of one chunk. */
static int write_chunk(const fc_chunk* chunk, const char* prefix, unsigned* number) {
  fc_chunk_info info = {.size = sizeof info};
  if (fc_chunk_describe(chunk, &info) != FC_OK) return fail("describe");
  uint8_t* rgba = malloc((size_t)info.width * info.height * 4);
  fc_planes planes = {.size = sizeof planes,
                      .memory = FC_MEMORY_HOST,
                      .format = FC_FORMAT_RGBA,
                      .plane = {rgba},
                      .stride = {info.width * 4}};
  int failed = rgba == NULL;
  for (uint32_t frame = 0; frame < info.frames && !failed; ++frame) {
    char path[4096];
    snprintf(path, sizeof path, "%s-%04u.ppm", prefix, (*number)++);
    FILE* file = fopen(path, "wb");
    failed = file == NULL                                     ? (perror(path), 1)
             : fc_chunk_write(chunk, frame, &planes) != FC_OK ? fail("write")
                                                              : 0;
    if (file) fprintf(file, "P6\n%u %u\n255\n", info.width, info.height);
    for (uint32_t i = 0; i < info.width * info.height && !failed; ++i) fwrite(rgba + 4 * i, 1, 3, file);
    if (file && fclose(file) != 0) failed = 1;
  }
  free(rgba);
  fprintf(stderr, "chunk %u: %u steps computed, %u reused, %.0f ms\n", (unsigned)info.chunk,
          info.steps_computed, info.steps_reused, info.seconds * 1000);
  return failed;
}

int main(int argc, char** argv) {
  if (argc != 4) return fprintf(stderr, "frames PROMPT CHUNKS PREFIX\n"), 2;
  fc_engine_config engine_config = {.size = sizeof engine_config}; /* the model that ships, best device */
  fc_stream_config stream_config = {.size = sizeof stream_config, .prompt = argv[1], .seed = 1};
  fc_engine* engine = NULL;
  fc_stream* stream = NULL;
  if (fc_engine_open(&engine_config, NULL, NULL, &engine) != FC_OK) return fail("open");
  int failed = fc_stream_open(engine, &stream_config, &stream) != FC_OK ? fail("stream") : 0;
  unsigned number = 0;
  for (int i = 0; i < atoi(argv[2]) && !failed; ++i) {
    fc_chunk* chunk = NULL;
    failed = fc_stream_next(stream, &chunk) != FC_OK ? fail("next") : write_chunk(chunk, argv[3], &number);
    fc_chunk_unref(chunk);
  }
  fc_stream_close(stream);
  fc_engine_unref(engine);
  return failed;
}
