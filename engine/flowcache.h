/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libflowcache: endless video from a text prompt, one chunk at a time.
 *
 *   fc_engine   a model on a device. Thread-safe; many streams share one.
 *   fc_stream   one endless video. One thread drives it; only the calls marked "any thread" may come from others.
 *   fc_chunk    the decoded frames of one chunk. Reference counted; read-only; any thread.
 *
 * Every call that can fail returns an fc_status and never aborts, throws or exits. fc_last_error() then has a sentence
 * that names the value, the limit and the remedy.
 *
 * Structs begin with `size`: set it to sizeof(the struct) before passing one in, so that fields can be added at the
 * end without breaking programs built against an older header. A zero, NULL or FC_AUTO field means "the default", so
 * that a struct that is zero but for its size and what matters is complete. fc_engine_config_init() and its like
 * return such a struct.
 *
 * What is promised: within one FC_ABI_VERSION, functions, constants and fields keep their meaning and place; new fields
 * come at the end of their struct, and what is written into a smaller struct stops at its size. Before version 1.0 a
 * minor version may raise FC_ABI_VERSION, and CHANGELOG.md then says what to change; a patch version never does. The
 * library exports what this header declares and one function for the flowcache command, nothing else. The words of
 * error sentences, of logs and of policies' summaries may change in any version, and so may the frames that a seed
 * gives.
 *
 * A program may end, by exit() or by returning from main(), while other threads are in the library: their calls return
 * FC_ENDED at the next layer of the network, exit() waits for that (ten seconds at most), and later calls are refused
 * with FC_ENDED. Not covered is the first tenth of a second of a process's first fc_engine_open(), in which LibTorch
 * makes what exit() destroys.
 *
 * On the CPU, set GOMP_SPINCOUNT=1000 in the environment of the process before the library is loaded: LibTorch's
 * threads otherwise burn their cores while they wait for each other, which beside a video encoder makes chunks several
 * times slower. (OMP_WAIT_POLICY=passive has them sleep at once, which costs a sixth of the speed.) The GStreamer
 * element and the flowcache tool do so themselves.
 *
 * Strings are UTF-8. Strings passed in are copied. Video frames are progressive with square pixels.
 */
/* Comments stand in columns beside what they describe. */
/* clang-format off */
#ifndef FLOWCACHE_H
#define FLOWCACHE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FC_API __attribute__((visibility("default")))
#else
#define FC_API
#endif

/* The version of this header; fc_version() is that of the library that is loaded. */
#define FC_VERSION_MAJOR 0
#define FC_VERSION_MINOR 1
#define FC_VERSION_PATCH 0
/* #if FC_CHECK_VERSION(0, 1, 0): this header is of that version or a later one. */
#define FC_CHECK_VERSION(major, minor, patch)                                                      \
  (FC_VERSION_MAJOR * 1000000 + FC_VERSION_MINOR * 1000 + FC_VERSION_PATCH >=                      \
   (major) * 1000000 + (minor) * 1000 + (patch))
/* The version of the binary interface. A program and a library with the same FC_ABI_VERSION fit together. */
#define FC_ABI_VERSION 1
/* For floating-point fields: the default, as 0. */
#define FC_AUTO NAN
/* For cache_threshold: no step is reused. */
#define FC_NEVER (-1.0)
/* For fc_prompt_change.at_chunk: the next chunk that has not been started. */
#define FC_NEXT_CHUNK UINT64_MAX
#define FC_PROMPT_RECACHE UINT32_MAX /* fc_prompt_change.blend_chunks: neither cut nor blend, see there */

typedef enum {
  FC_OK = 0,
  FC_ERROR_ARGUMENT = 1,  /* a value is outside its range; the sentence says which */
  FC_ERROR_NOT_FOUND = 2, /* a file, folder, policy or device does not exist */
  FC_ERROR_MODEL = 3,     /* the model's files are damaged or do not fit together */
  FC_ERROR_MEMORY = 4,    /* not enough memory; the sentence has the figures */
  FC_ERROR_DEVICE = 5,    /* the device failed or is missing */
  FC_CANCELLED = 6,       /* fc_stream_cancel() or the progress callback asked for it */
  FC_ENDED = 7,           /* the stream cannot go on by its own rules (cache policy `full` with a full budget), or the
                             process is ending */
  FC_ERROR_INTERNAL = 8   /* a defect: please report the sentence */
} fc_status;

typedef struct fc_engine fc_engine;
typedef struct fc_stream fc_stream;
typedef struct fc_chunk fc_chunk;
struct fc_stream_config;

/* The sentence of the last call that failed on the calling thread; "" if none did. Valid until the next failing call
 * on this thread. */
FC_API const char* fc_last_error(void);
/* FC_ABI_VERSION of the library, and its version as "major.minor.patch". */
FC_API uint32_t fc_abi_version(void);
FC_API const char* fc_version(void);
/* "argument", "not-found", …: a short name for logs. Never NULL. */
FC_API const char* fc_status_name(fc_status status);

/* ---- logging ----------------------------------------------------------------------------------------------------- */

typedef enum { FC_LOG_ERROR = 1, FC_LOG_WARNING = 2, FC_LOG_INFO = 3, FC_LOG_DEBUG = 4 } fc_log_level;
/* Called from any of the library's threads, possibly from several at once. `message` is valid during the call. */
typedef void (*fc_log_function)(void* user, fc_log_level level, const char* message);
/* Process-wide. NULL silences the library, which is the default; the library never prints by itself. */
FC_API void fc_set_log_function(fc_log_function function, void* user);

/* ---- processor ---------------------------------------------------------------------------------------------------- */

/* Which instructions the arithmetic on the CPU uses. Strings live as long as the process. */
typedef struct {
  size_t size;
  const char* processor;     /* what the processor has: "baseline", "avx2", "avx512", "avx512bf16" or "amx"; "neon" or "sve" */
  const char* kernels;       /* what this library's kernels use: the lower of that and FLOWCACHE_MAX_CPU_ISA */
  const char* libtorch;      /* what LibTorch uses, limited by ATEN_CPU_CAPABILITY: "DEFAULT", "AVX2", "AVX512", … */
  const char* onednn;        /* the value of ONEDNN_MAX_CPU_ISA, which limits LibTorch's products; "all" if not set */
  const char* bf16_emulated; /* why bf16 on the CPU is emulated, so that precision "auto" means fp32; "" if it is not */
} fc_cpu_info;
/* Any thread. FC_ERROR_ARGUMENT if the value of FLOWCACHE_MAX_CPU_ISA is unknown. docs/processors.md describes it. */
FC_API fc_status fc_cpu_describe(fc_cpu_info* info);

/* ---- models and policies: what there is, without loading anything ------------------------------------------------- */

typedef struct {
  uint32_t width, height;        /* pixels */
} fc_picture_size;

typedef struct {
  size_t size;
  char name[64];
  char family[32];       /* "wan-causal", … */
  char description[256];
  uint32_t width, height;        /* native frame size, pixels */
  uint32_t fps_n, fps_d;         /* native frame rate */
  uint32_t frames_per_chunk;     /* video frames that one chunk decodes to */
  uint32_t latent_frames_per_chunk;
  uint32_t steps;                /* default denoising steps per chunk */
  uint32_t lag;                  /* default steps between one chunk's start and the next's; == steps: one in flight */
  double guidance_scale;         /* default; 1 = classifier-free guidance off */
  double cache_threshold;        /* default of the reuse policy, 0 = none set */
  char cache[64];                /* default reuse policy */
  char kv_cache[64];             /* default KV policy */
  uint64_t weight_bytes;         /* on disk, all files of the package */
  uint64_t kv_bytes_per_chunk;   /* keys and values of one chunk in fp32, all layers, one guidance branch */
  uint32_t history_chunks;       /* default KV budget in chunks */
  fc_picture_size least, most;   /* smallest and largest picture; both the native size where the model draws no other */
  fc_picture_size step;          /* and all are multiples of these */
  fc_picture_size good[8];       /* those that the model is good at, the native one first; zeros behind the last */
} fc_model_info;

/* Reads MODEL/model.json only: takes milliseconds, allocates no weights. Any thread.
 * model: a folder, or NULL for the model that ships. FC_ERROR_NOT_FOUND, FC_ERROR_MODEL. */
FC_API fc_status fc_model_describe(const char* model, fc_model_info* info);
/* The folder of the model that ships: $FLOWCACHE_MODEL as it is, else beside the library, else the installed data
 * folder. NULL if none exists. Valid for the life of the process. Any thread. */
FC_API const char* fc_default_model(void);

/* Guidance and storage stand behind a reuse policy: "ramp+cfg_cache:refresh=4", "attention+cfg_cache+offload". */
typedef enum {
  FC_POLICY_REUSE = 0,
  FC_POLICY_KV = 1,
  FC_POLICY_GUIDANCE = 2,
  FC_POLICY_STORAGE = 3
} fc_policy_kind;
typedef struct {
  size_t size;
  fc_policy_kind kind;
  const char* name;    /* static storage, as are all strings here */
  const char* summary;
  const char* paper;   /* title and arXiv number, or "" */
  const char* options; /* "warmup=3 (0..1000): …", one option a line */
} fc_policy_info;
/* Fills the index-th policy; FC_ERROR_NOT_FOUND past the last. Any thread. */
FC_API fc_status fc_policy_describe(uint32_t index, fc_policy_info* info);

/* ---- engine ------------------------------------------------------------------------------------------------------- */

/* Progress of a long call. stage: "read", "check", "load", "ready"; with `devices` also "join". fraction: 0..1 of the whole call.
 * Return 0 to go on, anything else to cancel: the call then returns FC_CANCELLED. Called on the calling thread. */
typedef int (*fc_progress_function)(void* user, const char* stage, double fraction);

typedef struct {
  size_t size;
  const char* model;     /* folder with model.json; NULL: fc_default_model() */
  const char* device;    /* "auto" (NULL), "cpu", "cuda", "cuda:1". "cuda" without a driver is an error, never the CPU */
  const char* precision; /* "fp32", "bf16": of matrix products and convolutions; "auto" (NULL): bf16 where the GPU or the
                            CPU (fc_cpu_describe()) has instructions for it, else fp32; "fp8", "int8": bf16, and the
                            transformer's matrices are kept in 8 bits, half the memory; GPUs that multiply such
                            numbers do so: fp8 from compute capability 8.9, int8 from 7.5 on */
  uint32_t threads;      /* CPU threads for one stream's arithmetic; 0: as many as this process may keep busy, by its affinity
                            and its control group's quota; more than those is an error */
  uint64_t memory_limit; /* bytes the preflight may plan with; 0: what the device has free */
  uint32_t slice_tokens; /* most tokens that a block's projections, text attention and feed-forward take at once: less
                            memory, more calls; 0: all of a chunk (Wan on a CPU: at most 256 a core anyhow) */
  uint32_t width, height; /* of the pictures that the preflight plans memory for; 0 and 0: the native size */
  const char* kv_precision; /* "full": keys and values of finished chunks in the type that is computed in; "int8": in 8
                               bits with a scale for each head and token, about half the memory of bf16 and a quarter of
                               fp32, so that as many bytes of kv_budget hold more chunks; "auto" (NULL): full */
  const char* devices;      /* "cuda:0,cuda:1" or "cpu,cpu": those that share each chunk of a stream, at most 64. The first is
                               this process's, and `device` is left out; for each other one a process is started (the
                               flowcache command: FLOWCACHE_PROGRAM, else the one beside the library, else in PATH) or, for
                               "join", waited for at `listen`. NULL: `device` alone. kv_budget and memory_limit are those of
                               each; see on_lost_rank. docs/architecture.md says what runs where */
  const char* attention_split; /* how the devices share self-attention: "heads", each some heads and their keys and values;
                               "rows", each its own tokens and all keys and values; "auto" (NULL): heads if they divide;
                               of a stream with guidance on two devices each runs one branch, whole */
  uint32_t rank_timeout;    /* milliseconds that the devices wait for each other at most; 0: 30000 */
  const char* listen;       /* HOST:PORT at which workers may join that have the token of FLOWCACHE_TOKEN or of the file
                               FLOWCACHE_TOKEN_FILE; NULL: none may, and nothing listens beyond 127.0.0.1 */
  const char* decoder_device; /* "cuda:1" or "cpu": decodes chunks there while the network on "cuda:0" computes the next one,
                                 and has the memory that this takes; NULL: the network's, or, where the last of several
                                 `devices` divides no heads and those before it do, that one (attention_split "auto") */
  const char* on_lost_rank; /* when a worker ends, or the others wait for it in vain: "go_on" (NULL): streams go on with the
                               devices that are left, after a warning in the log, and their history runs once more there,
                               under the prompt that holds; "end": they end with FC_ERROR_DEVICE, and so do all of the
                               engine, which has to be opened anew */
} fc_engine_config;

/* Loads a model. Blocks; seconds for the model that ships. On success *engine is owned by the caller, who calls
 * fc_engine_unref() once; streams and chunks keep it alive. Any thread.
 * Errors: ARGUMENT, NOT_FOUND, MODEL (every bad key listed at once), MEMORY (before allocating), DEVICE, CANCELLED. */
FC_API fc_status fc_engine_open(const fc_engine_config* config, fc_progress_function progress, void* user,
                                fc_engine** engine);
FC_API void fc_engine_unref(fc_engine* engine); /* any thread; NULL is fine */
/* As fc_model_describe(), of the loaded model. Any thread. */
FC_API fc_status fc_engine_describe(fc_engine* engine, fc_model_info* info);
/* "cpu" or "cuda:0", and "fp32", "bf16", "fp8" or "int8". Valid for the life of the engine. Any thread. */
FC_API const char* fc_engine_device(fc_engine* engine);
FC_API const char* fc_engine_precision(fc_engine* engine);

/* Measures what reuse policies want to know of a model and writes it as JSON to `file` (magcache:curve_file=…): streams
 * `chunks` >= 2 chunks of each of `count` prompts with every step computed. `config`: steps, lag, guidance, seed; its
 * prompt and cache are not looked at. progress as in fc_engine_open(), stage "calibrate". Any thread.
 * Errors: ARGUMENT, MEMORY, CANCELLED, NOT_FOUND (the file cannot be written). */
FC_API fc_status fc_engine_calibrate(fc_engine* engine, const struct fc_stream_config* config,
                                     const char* const* prompts, uint32_t count, uint32_t chunks,
                                     fc_progress_function progress, void* user, const char* file);

/* ---- stream ------------------------------------------------------------------------------------------------------- */

typedef struct fc_stream_config {
  size_t size;
  const char* prompt;          /* NULL or "": no condition. At most 8192 bytes of UTF-8 */
  const char* negative_prompt; /* used when guidance_scale != 1; NULL or "": model.json's, if it has one */
  uint64_t seed;
  const char* cache;           /* reuse policy, "name" or "name:option=value,…", and perhaps "+guidance policy";
                                  NULL: the model's default; see `live` */
  double cache_threshold;      /* ε of the reuse policy, up to 10; 0: policy's or model's default; FC_NEVER: no step is
                                  reused, as with cache "none", but fc_stream_tune() can change that */
  const char* kv_cache;        /* KV policy, as `cache` */
  uint64_t kv_budget;          /* bytes that the KV of finished chunks may hold, all layers and branches; 0: model's */
  uint32_t steps;              /* denoising steps per chunk, 1..1000; 0: model's */
  uint32_t lag;                /* steps between chunk starts, 1..steps; 0: model's */
  double guidance_scale;       /* up to 50; 1 = off, one branch only; 0: model's */
  uint32_t clean_context;      /* keys and values of finished chunks: 0 the model's way, 1 those of the last step, 2 from
                                  one more pass over the clean chunk */
  const uint8_t* prefix;       /* an image or a video that the stream goes on from: frames of 8-bit RGB, one after the
                                  other without padding, read during fc_stream_open() only; NULL: none. Needs a model
                                  whose VAE has its encoder. A video's own frames do not come out again; an image does */
  uint32_t prefix_frames;      /* 1..4096, as many as the VAE can group: see models/README.md */
  uint32_t prefix_width, prefix_height; /* the video's size; anything else is FC_ERROR_ARGUMENT */
  uint32_t live;               /* 1: the video is played as it is made. Without `cache` and `cache_threshold` the stream
                                  then takes the model's policy for that, which is governed (see fc_stream_deadline)
                                  where the model allows it. 0: the plain default, which can be repeated bit by bit */
  uint32_t width, height;      /* of the picture: one of fc_model_info's sizes; 0 and 0: the native one. KV budgets that
                                  are the model's follow the size */
  uint32_t graphs;             /* 1: on an NVIDIA GPU, the network's blocks run as CUDA graphs in the steady state: thousands
                                  of kernels in one piece. 0: each is launched on its own. Not tried on a card yet */
} fc_stream_config;

/* Opens a stream at its chunk 0. Allocates the KV buffer, once. On success *stream is owned by the caller.
 * Same model, device, precision, threads, prompt, seed and options: bit-identical frames on the same machine, whatever
 * else runs, but for streams that a deadline governs. Errors: ARGUMENT, NOT_FOUND (policy), MEMORY (figures). */
FC_API fc_status fc_stream_open(fc_engine* engine, const fc_stream_config* config, fc_stream** stream);
FC_API void fc_stream_close(fc_stream* stream); /* not during another call on it; chunks stay valid; NULL is fine */

typedef struct {
  size_t size;
  const char* text;      /* the new prompt; rules as fc_stream_config.prompt */
  uint64_t at_chunk;     /* first chunk that it conditions; FC_NEXT_CHUNK: as soon as possible */
  uint32_t blend_chunks; /* 0: cut; n: conditions are interpolated over n chunks; FC_PROMPT_RECACHE: the chunks that the
                            KV cache holds run once more, clean, under the new prompt, so that the scene goes on and its
                            content follows at once (LongLive). Costs one forward pass for each of these chunks, which
                            fc_chunk_info tells. Needs a stream with a clean pass and one chunk in flight */
} fc_prompt_change;
/* Queues a change of prompt. Any thread, at any time, also during fc_stream_next(). *ticket (may be NULL) is a number > 0
 * that appears as fc_chunk_info.prompt_ticket from the first chunk on that the prompt conditions: the receipt.
 * Changes for different chunks are kept side by side; one for the same chunk replaces the earlier one. Errors: ARGUMENT (too long, not UTF-8,
 * FC_PROMPT_RECACHE in a stream that cannot). */
FC_API fc_status fc_stream_prompt(fc_stream* stream, const fc_prompt_change* change, uint64_t* ticket);
/* Words of the last prompt given that have no effect, separated by ", "; "" if all have one. The model does not know them,
 * or they stand behind as many as it takes in. Any thread; valid until the calling thread's next call of this function. */
FC_API const char* fc_stream_unknown_words(fc_stream* stream);

typedef struct {
  size_t size;
  const char* loras;     /* "FILE[:SCALE],FILE[:SCALE],…", added to the model's own (transformer.loras in model.json), which
                            stay; NULL or "": none. SCALE -10..10, 1 if not given. A comma or a backslash in a name has a
                            backslash in front of it, and so has a colon before a number. Files of any kind that
                            models/README.md lists for LoRAs; relative to the program's folder */
  uint64_t at_chunk;     /* first chunk that is made with them; FC_NEXT_CHUNK: as soon as possible */
} fc_lora_change;
/* Changes the LoRAs of this stream, while it plays or before it begins; other streams of the engine stay as they are. Reads
 * and merges on the calling thread, which takes as long as loading these weights does, while fc_stream_next() runs on. Merged
 * is into the weights of the files, so a LoRA that is taken away leaves nothing behind. The weights that change are in memory
 * beside the engine's own, which is checked before. *ticket (may be NULL) is a number > 0 that appears as
 * fc_chunk_info.lora_ticket from the first chunk on: the receipt; that chunk and those after it are made with the new list.
 * Chunks in flight keep theirs, no result of the old weights is reused, and the history of keys and values stays, so the
 * scene goes on. Lists for different chunks are kept side by side; one for the same chunk replaces the earlier one. Any
 * thread, at any time. If it fails, nothing has changed. Errors: ARGUMENT (list, scale, a model that cannot), NOT_FOUND,
 * MODEL (no LoRA, DoRA, another model's; all that does not fit at once), MEMORY (figures), CANCELLED (fc_stream_cancel()). */
FC_API fc_status fc_stream_lora(fc_stream* stream, const fc_lora_change* change, uint64_t* ticket);

/* Changes ε or the guidance scale from the next step on. Both as in fc_stream_config, 0 for the default and FC_NEVER
 * included, but FC_AUTO leaves one as it is. Any thread.
 * Guidance cannot be switched on (from 1) in a stream that was opened without it: FC_ERROR_ARGUMENT. */
FC_API fc_status fc_stream_tune(fc_stream* stream, double cache_threshold, double guidance_scale);

/* What to steer away from, from the next chunk on; NULL or "": nothing in particular. Any thread.
 * Errors: ARGUMENT (too long, not UTF-8, or the stream was opened without guidance). */
FC_API fc_status fc_stream_negative_prompt(fc_stream* stream, const char* text);

/* For cache "auto": seconds that a chunk may take from now on, 0 < seconds <= 3600; 0: 0.8 of the time that it plays,
 * which is what a stream begins with. The governor then computes as many steps of each chunk as fit, within the
 * policy's floor and ceiling; the first fc_stream_next() times a step and decoding before it begins. A chunk that
 * becomes too slow on the way gives up steps to come, if it is the only one in flight. What the governor chooses
 * depends on the machine's load, so such a stream is not repeatable bit by bit. Any thread. Errors: ARGUMENT (out of
 * range, or another policy). */
FC_API fc_status fc_stream_deadline(fc_stream* stream, double seconds);

/* Computes until the next chunk is finished and decoded. On a GPU it returns when the chunk's steps are done: the chunk is
 * decoded while the next one's steps run, and the first fc_chunk_write() waits for that. Blocks for about one chunk's
 * time. On FC_OK *chunk is owned by the caller (fc_chunk_unref). FC_CANCELLED after fc_stream_cancel(): nothing is lost, the next call goes on. */
FC_API fc_status fc_stream_next(fc_stream* stream, fc_chunk** chunk);
/* Makes a running or the next fc_stream_next() return FC_CANCELLED, and a running fc_stream_lora() too. It stops within a
 * layer of the network, in front of the next product; only decoding a chunk is finished first. What was stopped is done again
 * by the next call, and the frames are those of a stream that was not cancelled. Any thread, also in a signal handler. */
FC_API void fc_stream_cancel(fc_stream* stream);
/* Back to chunk 0 with this seed: history, window, accumulators and statistics are forgotten; prompts and LoRAs queued for
 * later chunks too; the prompt, the LoRAs (those given for the next chunk included) and the settings in force stay (a blend
 * counts as done), and so does a cancellation that no call has answered yet. From then on the frames are those of a fresh
 * stream with that prompt, seed, LoRAs and settings. If it fails, nothing has changed. Not during another call on the
 * stream. */
FC_API fc_status fc_stream_reset(fc_stream* stream, uint64_t seed);

typedef struct {
  size_t size;
  uint64_t chunks;             /* finished */
  uint64_t steps_computed;     /* chunk steps that ran the network (clean-context passes not counted) */
  uint64_t steps_reused;
  uint64_t forced_computes;    /* of the computed: those the rules demanded (warm-up, last step, unsafe metric, …) */
  uint64_t kv_bytes;           /* keys and values of finished chunks now */
  uint64_t kv_budget;          /* the most they may hold */
  uint64_t kv_allocated;       /* all that is allocated for them: budget, chunks in flight, and scratch, which some devices
                                  need from the first time on that history is reduced */
  uint64_t reuse_bytes;        /* residuals and features kept for steps to come, when the last chunk was finished */
  double last_chunk_seconds;   /* wall time of the last fc_stream_next(), decode included */
  double last_decode_seconds;  /* of a model on a GPU: the decoding of the chunk before, on the GPU's clock */
  double cache_threshold;      /* in force */
  double guidance_scale;
  uint32_t steps, lag, chunks_in_flight;
  uint32_t governor_level;     /* computed steps a chunk that the deadline has cost; 0: full quality, or not governed */
  double deadline_seconds;     /* in force; 0: the policy is not governed */
  uint32_t steps_allowed;      /* computed steps of the chunks that begin now; 0: their number is not governed */
  double least_chunk_seconds;  /* expected of a chunk with the fewest steps that the policy may compute; 0: not known
                                  yet, or not governed. More than a chunk plays: the machine is too slow for the stream */
  uint32_t step_layers_reached; /* layers of the network, of all guidance branches, that the step which runs now has come */
  uint32_t step_layers;         /* to, and all that it may run; a GPU is given them ahead of time. 0 and 0: no step runs */
  uint32_t devices;             /* that the network runs on; fewer than at first: some were lost (fc_engine_config) */
} fc_stream_stats;
/* Any thread. */
FC_API fc_status fc_stream_get_stats(fc_stream* stream, fc_stream_stats* stats);

/* ---- chunk -------------------------------------------------------------------------------------------------------- */

typedef struct {
  size_t size;
  uint64_t chunk;          /* 0, 1, 2, … */
  uint64_t seed;
  uint64_t prompt_ticket;  /* of the prompt that conditioned it; 0: the one given at open */
  uint32_t frames;         /* video frames in this chunk */
  uint32_t width, height;
  uint32_t steps_computed, steps_reused;
  double cache_threshold;
  uint64_t kv_bytes, kv_budget; /* when the chunk was finished */
  double seconds;          /* wall time that fc_stream_next() took for it, without what a governed stream times before
                              its first chunk */
  const uint8_t* decisions; /* decisions[s]: 1 = step s computed, 0 = reused; steps_computed + steps_reused entries;
                               lives as long as the chunk */
  double flops;            /* floating-point operations of the network's blocks for this chunk; 0: not known */
  uint32_t governor_level; /* computed steps that the deadline has cost this chunk, those given up on the way
                              included; 0: full quality, or not governed */
  uint32_t recached_chunks; /* chunks of the history that ran once more before it, for FC_PROMPT_RECACHE */
  double recache_seconds;   /* what that took; part of `seconds`, if no cancellation lay between */
  uint64_t lora_ticket;     /* of fc_stream_lora(), whose list it was made with; 0: none was given */
  double lora_seconds;      /* what reading and merging that list took; not part of `seconds` */
  double strength;          /* of fc_stream_feed(); 1: unfed, or what was fed is ignored */
} fc_chunk_info;

FC_API fc_status fc_chunk_describe(const fc_chunk* chunk, fc_chunk_info* info);

typedef enum { FC_MEMORY_HOST = 0, FC_MEMORY_CUDA = 1 } fc_memory;
typedef enum { FC_FORMAT_RGBA = 0, FC_FORMAT_NV12 = 1, FC_FORMAT_I420 = 2 } fc_format;

/* Where a frame goes. RGBA: plane 0, full-range sRGB, alpha 255. NV12: Y, UV. I420: Y, U, V. YUV is BT.709, limited
 * range, chroma sited left (MPEG-2). Chroma planes have (width+1)/2 x (height+1)/2 samples. */
typedef struct {
  size_t size;
  fc_memory memory;
  fc_format format;
  void* plane[3];
  uint32_t stride[3]; /* bytes from one row to the next, at least the row's bytes */
} fc_planes;

/* Converts frame `frame` (0..frames-1) straight into the caller's memory. Any thread; several at once.
 * Planes in CUDA memory belong to the context that is current; frames on the CPU are uploaded into them.
 * Errors: ARGUMENT (frame, format, null plane, stride too small, a plane that is not in the memory it claims), DEVICE (no
 * driver or kernels, planes of another context than the frames'). */
FC_API fc_status fc_chunk_write(const fc_chunk* chunk, uint32_t frame, const fc_planes* planes);
FC_API fc_chunk* fc_chunk_ref(fc_chunk* chunk);  /* returns its argument; any thread */
FC_API void fc_chunk_unref(fc_chunk* chunk);     /* any thread; NULL is fine */

/* ---- pictures in: a camera, a file or a call, repainted --------------------------------------------------------------- */

typedef struct {
  size_t size;
  const fc_planes* frames; /* `count` of them, of the stream's size, one after the other in time; read during the call
                              only; alpha is ignored. Those in CUDA memory must be finished; they are converted there if
                              it is the model's own context. Each has the `size` of the first */
  uint32_t count;          /* fc_stream_feed_frames() */
  double strength;         /* 0..1: the share of the chunk's steps that run, rounded to whole steps, from the frames with
                              noise of the level at which these begin. 0: shows the frames as the model's codec sees them;
                              1: ignores them, and the chunk is what it would have been unfed, bit by bit. Below 1 at least
                              one step is left out, so that the frames count */
  uint32_t restart;        /* 1: the frames do not follow those fed before: another shot, or a gap. 0: they do */
  uint32_t follow_motion;  /* 1: the faster the frames move, the lower strength is, by up to 0.1, and it changes smoothly
                              (StreamDiffusionV2, arXiv 2511.07399); fc_chunk_info.strength says what came of it. 0: as given */
} fc_feed;
/* Gives the next chunk that has not been started the pictures that it repaints; later calls are for the chunks behind it. The
 * frames are encoded on the calling thread; the chunks before may be computed meanwhile. At most one chunk more than are in
 * flight may wait. A chunk that begins unfed is made from noise alone. Any thread, at any time but during
 * fc_stream_reset(), one call at a time. *chunk (may be NULL) is the number of the chunk. Where a VAE leaves out frames of a
 * video's first chunk (TAEHV for Wan: three), that chunk takes more frames than it shows, and shows the first of them.
 * Errors: ARGUMENT (strength, number or size of frames, planes, too many chunks wait; then nothing has changed), MEMORY, and
 * MODEL or NOT_FOUND if the model has no encoder. */
FC_API fc_status fc_stream_feed(fc_stream* stream, const fc_feed* feed, uint64_t* chunk);
/* How many frames the next fc_stream_feed() takes. The first call loads the encoder. Errors: MODEL or NOT_FOUND if the model has none. */
FC_API fc_status fc_stream_feed_frames(fc_stream* stream, uint32_t* frames);

/* Measures how long the steps of a chunk and its decoding take on this machine, and with strength < 1 its encoding, so that a
 * player knows its latency before the first picture. strength: as in fc_feed; 1: unfed. *seconds: what a chunk is expected to
 * take with all its steps; of a governed stream no more than its deadline (and the encoding). A policy that reuses takes less.
 * A governed stream measures this in its first fc_stream_next() otherwise. The frames stay the same. Driving thread, before the
 * first fc_stream_next(). Errors: ARGUMENT (strength; the stream has begun), CANCELLED, those of fc_stream_feed_frames(). */
FC_API fc_status fc_stream_rehearse(fc_stream* stream, double strength, double* seconds);

/* ---- initialisers ------------------------------------------------------------------------------------------------- */

/* Each returns its struct with `size` set and everything else zero, which is the default. Inline, so that the size is
 * that of the header which the program was built with. */
#define FC_DEFINE_INIT(type)              \
  static inline type type##_init(void) { \
    type made;                           \
    memset(&made, 0, sizeof made);       \
    made.size = sizeof made;             \
    return made;                         \
  }
FC_DEFINE_INIT(fc_cpu_info) /* fc_cpu_info_init() */
FC_DEFINE_INIT(fc_model_info) /* fc_model_info_init() */
FC_DEFINE_INIT(fc_policy_info) /* fc_policy_info_init() */
FC_DEFINE_INIT(fc_engine_config) /* fc_engine_config_init() */
FC_DEFINE_INIT(fc_stream_config) /* fc_stream_config_init() */
FC_DEFINE_INIT(fc_prompt_change) /* fc_prompt_change_init() */
FC_DEFINE_INIT(fc_lora_change) /* fc_lora_change_init() */
FC_DEFINE_INIT(fc_stream_stats) /* fc_stream_stats_init() */
FC_DEFINE_INIT(fc_chunk_info) /* fc_chunk_info_init() */
FC_DEFINE_INIT(fc_planes) /* fc_planes_init() */
FC_DEFINE_INIT(fc_feed) /* fc_feed_init() */
#undef FC_DEFINE_INIT

#ifdef __cplusplus
}
#endif
#endif /* FLOWCACHE_H */
