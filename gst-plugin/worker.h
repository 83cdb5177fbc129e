// SPDX-License-Identifier: LGPL-2.1-or-later
// The thread that owns the engine: it loads the model, makes chunks and keeps a bounded ring of them. A full
// ring stops it, so it never runs ahead of the viewer by more than the ring. Calls nothing of GStreamer.
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

namespace flowcache::gst {

/// A prompt that is known from the beginning.
struct ScriptedPrompt {
  uint64_t chunk = 0;  ///< the first that it conditions
  std::string text;
};

/// What a stream goes on from: frames of 8-bit RGB without padding.
struct PrefixFrames {
  std::vector<uint8_t> rgb;
  uint32_t count = 0, width = 0, height = 0;
};
/// Called once, on the worker's thread, when the model is loaded, with the video's size. Asks `go_on` while
/// it reads. No frames: `error` says why.
using PrefixReader = std::function<PrefixFrames(uint32_t width, uint32_t height,
                                                const std::function<bool()>& go_on, std::string* error)>;

/// What a stream is made of.
struct StreamOptions {
  StreamSettings settings;
  bool live = false;                   ///< played as it is made: governed, unless `cache` says otherwise
  std::vector<ScriptedPrompt> script;  ///< by chunk; starts over with the stream
  uint32_t script_blend_chunks = 0;
  PrefixReader prefix;            ///< empty: none
  uint64_t chunks = UINT64_MAX;   ///< no more are made; a reset starts counting anew
  uint32_t frames_per_chunk = 1;  ///< of the model, > 0
};

/// A finished chunk; its frames can be written out from any thread.
class Chunk {
 public:
  /// started: the listener's now() when the engine began with it.
  Chunk(const EngineLibrary& library, fc_chunk* chunk, uint64_t started);
  ~Chunk() { library_.chunk_unref(chunk_); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  const fc_chunk_info& info() const { return info_; }
  uint64_t started() const { return started_; }
  /// FC_OK, or an error with a sentence.
  fc_status write(uint32_t frame, const fc_planes& planes, std::string* error) const;

 private:
  const EngineLibrary& library_;
  fc_chunk* chunk_;
  fc_chunk_info info_{};
  uint64_t started_;
};

struct Frame {
  std::shared_ptr<const Chunk> chunk;
  uint32_t index = 0;  ///< in the chunk
};

inline constexpr uint64_t kNoTime = UINT64_MAX;

struct PromptChange {
  std::string text;
  uint64_t at = kNoTime;  ///< from the first chunk on that is shown at or after this time; kNoTime: at once
  uint32_t blend_chunks = 0;  ///< 0: a cut
  bool from_stream = false;   ///< of the pad `prompt`
};

struct PromptReceipt {
  uint64_t ticket = 0;  ///< 0: the prompt given at open
  std::string text, unknown_words;
  uint32_t blend_chunks = 0;
  uint64_t by_chunk = 0;  ///< if it does not hold from this chunk on, another one has replaced it
};

/// Told from the worker's thread, with no lock held. Must not call FrameWorker::stop().
class FrameWorkerListener {
 public:
  virtual ~FrameWorkerListener() = default;
  /// The worker's thread begins and ends, to give it a priority or to count it.
  virtual void thread_entered() = 0;
  virtual void thread_left() = 0;
  virtual void load_progress(const char* stage, double fraction) = 0;
  virtual void loaded(const std::string& device, const std::string& precision) = 0;
  virtual void load_cancelled() = 0;
  virtual void prompt_received(const PromptReceipt& receipt) = 0;
  /// A later prompt came before this one was handed to the engine: it never shows.
  virtual void prompt_overtaken(const PromptChange& change) = 0;
  /// A prompt does not wait for its time any more.
  virtual void prompts_fewer() = 0;
  /// The stream is at its chunk 0 again; what was received and not yet in force is forgotten.
  virtual void stream_reset() = 0;
  /// The stream goes on as it was. `what` names the change: "prompt", "tune", "reset", ….
  virtual void change_refused(const char* what, const std::string& sentence) = 0;
  virtual void chunk_finished(const fc_chunk_info& chunk, const fc_stream_stats& stats) = 0;
  /// By the engine's own rules there is no next chunk, unless a reset starts the stream over.
  virtual void ended(const std::string& sentence) = 0;
  /// The worker has ended. `loading`: before the first chunk could be started.
  virtual void failed(fc_status status, const std::string& sentence, bool loading) = 0;
  /// The time of whatever clock the listener goes by; does not move while it is paused.
  virtual uint64_t now() = 0;
  /// How many frames are shown before `time`, if the first of them is due at `due` (kNoTime: not known yet).
  virtual uint64_t frames_until(uint64_t time, uint64_t due) = 0;
  /// Frames arrived, or ring_state() changed.
  virtual void ring_changed() = 0;
};

class FrameWorker {
 public:
  enum class RingState { Empty, Ready, Ended, Failed };

  /// capacity: chunks in the ring, > 0. The listener outlives this object.
  FrameWorker(EngineKey key, StreamOptions options, size_t capacity, FrameWorkerListener* listener);
  ~FrameWorker() { stop(); }

  /// With pictures of this size; 0 and 0: the model's own. Does nothing if it has been started. Not beside
  /// stop().
  void start(uint32_t width = 0, uint32_t height = 0);
  /// Cancels whatever runs and joins the thread; within one network evaluation. Any thread but the worker's.
  void stop();

  // ---- changes, any thread; taken before the next chunk. Of several that have not been taken, the last
  // holds.
  /// One for a later time waits here until that time is within the engine's reach: what is shown when, and so
  /// which chunk it is for, may change until then. It survives a reset.
  void change_prompt(PromptChange change);
  /// How many wait for their time. The listener is told when there are fewer.
  size_t prompts_waiting() const;
  /// Those among them that came from a stream are dropped.
  void forget_stream_prompts();
  /// FC_AUTO leaves a number as it is.
  void tune(double cache_threshold, double guidance_scale);
  void change_negative_prompt(std::string text);
  /// Seconds that a chunk may take; 0: the engine's own choice. Only for streams that are governed.
  void set_deadline(double seconds);
  /// Empties the ring and starts over at chunk 0. Without a seed the stream keeps its own.
  void reset(std::optional<uint64_t> seed);

  // ---- the ring, streaming thread
  /// `frame` is the oldest one, left in the ring; only set when Ready.
  RingState peek(Frame* frame) const;
  /// This frame is done with, and the next is due at `due`. The ring stays as it is if a reset has emptied it
  /// since the frame was peeked at.
  void advance(const Frame& frame, uint64_t due);
  /// The oldest frame is due at `due`.
  void set_due(uint64_t due);
  RingState ring_state() const { return peek(nullptr); }
  uint32_t frames_ready() const;
  /// Chunks that the ring may hold.
  size_t capacity() const { return capacity_; }
  /// Frames that were made and will not be shown, as a reset came between.
  uint64_t frames_dropped() const;

  /// Null until loaded. Any thread.
  std::shared_ptr<LoadedEngine> engine() const;

 private:
  /// What was asked for since the last chunk, taken in this order.
  struct Changes {
    std::optional<uint64_t> reset;  ///< to this seed
    std::optional<double> cache_threshold, guidance_scale, deadline;
    std::optional<std::string> negative_prompt;
    std::optional<PromptChange> prompt;   ///< at once
    bool forget_stream = false;           ///< prompts for a time that came before this
    std::vector<PromptChange> later;      ///< for a time
    std::vector<PromptChange> overtaken;  ///< not taken at all
    /// What costs the engine nothing, or must not wait.
    bool urgent() const {
      return reset || cache_threshold || guidance_scale || deadline || forget_stream || !later.empty();
    }
    /// What the engine has to read.
    bool texts() const { return negative_prompt || prompt; }
  };
  /// A prompt that the engine has and that no chunk has shown yet.
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
  void make_chunks(fc_stream* stream);
  void wait_for_work(std::unique_lock<std::mutex>& lock);
  bool wanted() const;  ///< a chunk; under mutex_
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
  uint32_t frames_in_ring() const;  ///< under mutex_
  bool push(std::shared_ptr<const Chunk> chunk, uint64_t generation);
  void set_state(RingState state);
  void fail(fc_status status, const std::string& sentence);

  const EngineKey key_;
  const EngineLibrary& library_;
  const StreamOptions options_;
  const size_t capacity_;
  FrameWorkerListener* const listener_;
  std::thread thread_;
  uint32_t width_ = 0, height_ = 0;  ///< written before the thread begins

  // ---- worker's thread only
  uint64_t next_chunk_ = 0;                 ///< that fc_stream_next() will give
  uint32_t in_flight_ = 1;                  ///< chunks that are begun before that one is finished
  size_t next_cue_ = 0;                     ///< of the script
  std::map<uint64_t, PromptChange> later_;  ///< prompts by their time
  std::deque<Handed> handed_;
  std::set<std::string> refused_;  ///< numbers that are not in force though somebody asked for them

  // mutex_ guards what follows. Never held while calling the listener or the engine, but for
  // fc_stream_cancel(), which only sets a flag.
  mutable std::mutex mutex_;
  std::condition_variable wake_worker_;
  bool begun_ = false, stopping_ = false;
  bool loading_ = true;
  RingState state_ = RingState::Empty;  ///< Ended and Failed hold once the ring is empty; a reset ends Ended
  std::deque<std::shared_ptr<const Chunk>> ring_;
  uint32_t next_index_ = 0;  ///< of the oldest chunk
  uint64_t due_ = kNoTime;   ///< of the oldest frame, or of the next one that comes
  uint64_t made_ = 0;        ///< chunks since the start or the last reset, that one included
  Changes changes_;
  std::chrono::steady_clock::time_point quiet_at_;  ///< from then on nobody is typing any more
  size_t waiting_ = 0;                              ///< prompts in `later_` and in `changes_.later`
  uint64_t seed_;
  uint64_t dropped_ = 0;     ///< frames
  uint64_t generation_ = 0;  ///< counts resets; a chunk of an older one is dropped
  fc_stream* stream_ = nullptr;
  std::shared_ptr<LoadedEngine> engine_;
};

}  // namespace flowcache::gst
