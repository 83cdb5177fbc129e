// SPDX-License-Identifier: LGPL-2.1-or-later
// The thread that drives the engine. It loads the model, makes chunks, and keeps them in a ring of limited
// size. While the ring is full it waits, so it is never further ahead of the viewer. It calls no function of
// GStreamer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"
#include "lora_changer.h"

namespace flowcache::gst {

// A prompt that is known beforehand.
struct ScriptedPrompt {
  uint64_t chunk = 0;  // the first chunk that it holds for
  std::string text;
};

// The frames that a stream continues: 8-bit RGB without padding.
struct PrefixFrames {
  std::vector<uint8_t> rgb;
  uint32_t count = 0, width = 0, height = 0;
};
// Called once, on the worker's thread, when the model is loaded, with the video's size. It calls `go_on`
// while it reads. If it returns no frames, `error` says why.
using PrefixReader = std::function<PrefixFrames(uint32_t width, uint32_t height,
                                                const std::function<bool()>& go_on, std::string* error)>;

// The settings of a worker's stream.
struct StreamOptions {
  StreamSettings settings;
  bool live = false;                   // played while it is made: governed, unless `cache` says otherwise
  std::vector<ScriptedPrompt> script;  // in the order of chunks; starts over when the stream does
  uint32_t script_blend_chunks = 0;
  PrefixReader prefix;            // empty: none
  uint64_t chunks = UINT64_MAX;   // largest number of chunks; a reset counts from 0 again
  uint32_t frames_per_chunk = 1;  // the model's, > 0
  bool fed = false;               // chunks repaint what feed() gives, and are made only when they are fed
  double strength = 1;            // of the first feed
};

// A finished chunk. Its frames can be written from any thread.
class Chunk {
 public:
  // started: the listener's now() when the engine began the chunk.
  Chunk(const EngineLibrary& library, fc_chunk* chunk, uint64_t started);
  ~Chunk() { library_.chunk_unref(chunk_); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  const fc_chunk_info& info() const { return info_; }
  uint64_t started() const { return started_; }
  // Returns FC_OK, or an error with a message.
  fc_status write(uint32_t frame, const fc_planes& planes, std::string* error) const;

 private:
  const EngineLibrary& library_;
  fc_chunk* chunk_;
  fc_chunk_info info_{};
  uint64_t started_;
};

struct Frame {
  std::shared_ptr<const Chunk> chunk;
  uint32_t index = 0;  // of the frame in the chunk
};

inline constexpr uint64_t kNoTime = UINT64_MAX;

struct PromptChange {
  std::string text;
  uint64_t at = kNoTime;  // holds from the first chunk that is shown at or after this time; kNoTime: at once
  uint32_t blend_chunks = 0;  // 0: a cut; FC_PROMPT_RECACHE
  bool from_stream = false;   // came from the pad `prompt`
  bool scripted = false;      // came from follow()
};

struct PromptReceipt {
  uint64_t ticket = 0;  // 0: the prompt that the stream was opened with
  std::string text, unknown_words;
  uint32_t blend_chunks = 0;
  uint64_t by_chunk = 0;  // if the prompt does not hold from this chunk on, another one has replaced it
};

// Gets the worker's reports, on the worker's thread and without a lock. Must not call FrameWorker::stop().
class FrameWorkerListener {
 public:
  virtual ~FrameWorkerListener() = default;
  // The worker's thread begins and ends. The listener may give it a priority or count it.
  virtual void thread_entered() = 0;
  virtual void thread_left() = 0;
  virtual void load_progress(const char* stage, double fraction) = 0;
  virtual void loaded(const std::string& device, const std::string& precision) = 0;
  virtual void load_cancelled() = 0;
  virtual void prompt_received(const PromptReceipt& receipt) = 0;
  // A newer prompt came before this one was given to the engine, so this one is never shown.
  virtual void prompt_overtaken(const PromptChange& change) = 0;
  // The engine has got a list of LoRAs, or refused it, or a newer one came before it was read. On any thread.
  virtual void lora_changed(const LoraReceipt& receipt) = 0;
  // A prompt no longer waits for its time.
  virtual void prompts_fewer() = 0;
  // The stream is at chunk 0 again. Prompts that were received and not yet in force are forgotten.
  virtual void stream_reset() = 0;
  // A change was refused, and the stream continues as it was. `what` names the change: "prompt", "tune",
  // "reset", ….
  virtual void change_refused(const char* what, const std::string& sentence) = 0;
  // A chunk is expected to take this long. Once before the first one, of a live stream that is fed.
  virtual void chunk_expected(double seconds) = 0;
  // seconds: how long it took, with the encoding of its pictures.
  virtual void chunk_finished(const fc_chunk_info& chunk, const fc_stream_stats& stats, double seconds) = 0;
  // By the engine's rules there is no next chunk, unless a reset starts the stream over.
  virtual void ended(const std::string& sentence) = 0;
  // The worker has ended with an error. loading: it happened before the first chunk could be begun.
  virtual void failed(fc_status status, const std::string& sentence, bool loading) = 0;
  // The time of the clock that the listener uses. It does not advance while paused.
  virtual uint64_t now() = 0;
  // How many frames are shown before `time`, if the first of them is due at `due` (kNoTime: not yet known).
  virtual uint64_t frames_until(uint64_t time, uint64_t due) = 0;
  // Frames have arrived, or ring_state() has changed.
  virtual void ring_changed() = 0;
};

class FrameWorker {
 public:
  enum class RingState { Empty, Ready, Ended, Failed };

  // capacity: number of chunks in the ring, > 0. The listener outlives this object.
  FrameWorker(EngineKey key, StreamOptions options, size_t capacity, FrameWorkerListener* listener);
  ~FrameWorker() { stop(); }

  // Starts the thread, for pictures of this size; 0 and 0: the model's own. Does nothing if it has been
  // started. Must not be called at the same time as stop().
  void start(uint32_t width = 0, uint32_t height = 0);
  // Cancels the work and joins the thread, which takes at most one run of the network. Any thread but the
  // worker's.
  void stop();

  // ---- changes, from any thread. They are taken before the next chunk. Of several that have not been taken,
  // the last one holds.
  // A prompt for a later time waits here until that time is within the engine's reach. Until then it may
  // change which frame is shown when, and so which chunk the prompt is for. It stays after a reset.
  void change_prompt(PromptChange change);
  // These prompts for a time replace those that came from here before and still wait.
  void follow(std::vector<PromptChange> script);
  // How many prompts wait for their time, without those of follow(). The listener is told when there are fewer.
  size_t prompts_waiting() const;
  // Drops those of them that came from a stream.
  void forget_stream_prompts();
  // FC_AUTO leaves a value as it is.
  void tune(double cache_threshold, double guidance_scale);
  void change_negative_prompt(std::string text);
  // A list of LoRAs. It is read beside the worker, and the next chunk that begins after that has it.
  void change_lora(std::string list);
  // The seconds that a chunk may take; 0: the engine decides. Only for governed streams.
  void set_deadline(double seconds);
  // Empties the ring and starts again at chunk 0. Without a seed the stream keeps its own.
  void reset(std::optional<uint64_t> seed);

  // ---- pictures in, one thread; only if StreamOptions::fed
  // Waits until the model is loaded. Returns how many frames the next feed() takes; 0 after stop(), or if the worker has
  // failed or the model has no encoder, which it has reported.
  uint32_t frames_wanted();
  enum class Fed { Taken, Busy, Stopped };
  // Gives the next chunk its pictures. time: of the first of them, on the listener's clock; prompts for a time need it. wait: until they can be taken; else Busy if chunks wait already. Stopped: as
  // frames_wanted(), or an error, which is reported.
  Fed feed(const fc_feed& feed, uint64_t time, bool wait);
  // True if frames_wanted() need not wait.
  bool is_open_for_feed() const;
  // No more pictures come for now: what was fed is finished. Until the next feed().
  void drain();
  // True if all that was fed is in the ring or taken from it.
  bool idle() const;
  // Ends the waits of feed() and frames_wanted() until `interrupted` is false again. Any thread.
  void interrupt_feed(bool interrupted);
  // Once is_open_for_feed().
  uint32_t chunks_in_flight() const { return in_flight_; }
  // The number of the last chunk that was fed, plus one. Since the last reset.
  uint64_t chunks_fed() const;

  // ---- the ring, streaming thread
  // Sets `frame` to the oldest frame, which stays in the ring; only if the result is Ready.
  RingState peek(Frame* frame) const;
  // This frame is no longer needed, and the next one is due at `due`. Does nothing if a reset has emptied
  // the ring since the frame was read with peek().
  void advance(const Frame& frame, uint64_t due);
  // Tells when the oldest frame is due.
  void set_due(uint64_t due);
  RingState ring_state() const { return peek(nullptr); }
  uint32_t frames_ready() const;
  // Largest number of chunks in the ring.
  size_t capacity() const { return capacity_; }
  // How many finished frames will not be shown because a reset came.
  uint64_t frames_dropped() const;

  // Null until the model is loaded. Any thread.
  std::shared_ptr<LoadedEngine> engine() const;

 private:
  // Changes that were requested since the last chunk; they are taken in this order.
  struct Changes {
    std::optional<uint64_t> reset;  // the seed
    std::optional<double> cache_threshold, guidance_scale, deadline;
    std::optional<std::string> negative_prompt;
    std::optional<PromptChange> prompt;  // holds at once
    bool forget_stream = false;          // drop the stream's prompts that wait for a time
    std::optional<std::vector<PromptChange>> script;
    std::vector<PromptChange> later;      // prompts for a later time
    std::vector<PromptChange> overtaken;  // prompts that are not used
    // True for changes that cost the engine nothing or must not wait.
    bool urgent() const {
      return reset || cache_threshold || guidance_scale || deadline || forget_stream || script ||
             !later.empty();
    }
    // True for changes that the engine must encode.
    bool texts() const { return negative_prompt || prompt; }
  };
  struct FedTime {
    uint64_t time;    // of its first picture, on the listener's clock
    double encoding;  // seconds
  };
  // A prompt that the engine has got and that no chunk has shown yet.
  struct Handed {
    uint64_t ticket, by_chunk;
    PromptChange change;
    bool from_script;
  };

  void run() noexcept;
  void run_stream();
  bool load();
  bool read_prefix(PrefixFrames* frames);
  bool open_stream(fc_stream** stream);
  bool begin_feed(fc_stream* stream);
  void begin_with_lora(fc_stream* stream);
  void make_chunks(fc_stream* stream);
  void wait_for_work(std::unique_lock<std::mutex>& lock);
  bool wanted() const;  // whether a chunk is wanted; under mutex_
  bool feed_is_over() const { return stopping_ || feed_interrupted_ || state_ == RingState::Failed; }
  bool has_room_for_feed() const;
  bool make_chunk(fc_stream* stream, uint64_t generation);
  void apply(fc_stream* stream, Changes changes);
  void follow_script(fc_stream* stream);
  void follow_times(fc_stream* stream);
  uint64_t chunk_at(uint64_t time) const;
  uint64_t reach() const { return next_chunk_ + in_flight_; }
  void apply_prompt(fc_stream* stream, const PromptChange& change, uint64_t at_chunk);
  void apply_reset(fc_stream* stream, uint64_t seed);
  void keep_for_later(PromptChange change);
  void count_waiting();
  void settle(const char* what, bool accepted);
  template <typename Ask>
  void post(Ask ask);
  uint32_t frames_in_ring() const;  // under mutex_
  bool push(std::shared_ptr<const Chunk> chunk, uint64_t generation, double* seconds);
  void set_state(RingState state);
  void fail(fc_status status, const std::string& sentence);

  const EngineKey key_;
  const EngineLibrary& library_;
  const StreamOptions options_;
  const size_t capacity_;
  FrameWorkerListener* const listener_;
  std::thread thread_;
  uint32_t width_ = 0, height_ = 0;  // written before the thread starts

  // ---- worker's thread only
  uint64_t next_chunk_ = 0;                 // number of the chunk that fc_stream_next() will give
  uint32_t in_flight_ = 1;                  // number of chunks that are begun before that one is finished
  size_t next_cue_ = 0;                     // index in the script
  std::map<uint64_t, PromptChange> later_;  // prompts by their time
  std::deque<Handed> handed_;
  std::set<std::string> refused_;  // values that were requested and refused

  // mutex_ guards all members below. It is not held while the listener or the engine is called, except for
  // fc_stream_cancel(), which only sets a flag.
  mutable std::mutex mutex_;
  std::condition_variable wake_worker_;
  bool begun_ = false, stopping_ = false;
  bool loading_ = true;
  RingState state_ = RingState::Empty;  // Ended and Failed show once the ring is empty; a reset ends Ended
  std::deque<std::shared_ptr<const Chunk>> ring_;
  uint32_t next_index_ = 0;  // index of the next frame in the oldest chunk
  uint64_t due_ = kNoTime;   // time of the oldest frame, or of the next one that comes
  uint64_t made_ = 0;        // chunks since the start or the last reset
  Changes changes_;
  std::chrono::steady_clock::time_point quiet_at_;  // from this time on, typing counts as finished
  size_t waiting_ = 0;  // prompts in `later_` and in `changes_.later`, but for scripted ones
  uint64_t seed_;
  uint64_t dropped_ = 0;     // number of frames
  uint64_t generation_ = 0;  // number of resets; chunks from before the last one are dropped
  fc_stream* stream_ = nullptr;
  std::string lora_;                    // until there is a stream
  std::shared_ptr<LoraChanger> loras_;  // while there is one
  std::shared_ptr<LoadedEngine> engine_;
  uint64_t fed_ = 0;                       // chunks, since the start or the last reset
  std::map<uint64_t, FedTime> fed_times_;  // of the chunks that were fed and are not made yet
  bool feed_open_ = false, draining_ = false, feed_interrupted_ = false, resetting_ = false;
  std::condition_variable wake_feed_;  // with mutex_

  // Held while the engine is fed, and by the worker while it resets or closes the stream. Before mutex_.
  std::mutex feeding_;
};

}  // namespace flowcache::gst
