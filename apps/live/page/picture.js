// SPDX-License-Identifier: LGPL-2.1-or-later
// The picture: a WebRTC connection that the server offers. It needs send(message) and the server's messages, nothing else.

// A guess why no picture came through: `ours` and `theirs` are the kinds of candidates (host, srflx, relay) with
// their addresses, `problems` what STUN and TURN servers have answered.
export function whyNoWay({ ours, theirs, problems }) {
  const list = (found) => [...found].map(([kind, address]) => (address ? `${kind} ${address}` : kind)).join(", ") || "none";
  const relay = ours.has("relay") || theirs.has("relay");
  const remedy = problems.length ? problems[problems.length - 1]
    : relay ? "a TURN server relays, but it is not let through either"
      : "a router or firewall is between; a TURN server would help (--turn of flowcache-live)";
  return `no way to the picture: ${remedy}. Addresses of the server: ${list(theirs)}; of this browser: ${list(ours)}`;
}

// Longer than it takes to connect through a TURN server. Browsers give up by themselves after half a minute.
const patience = 12000;

export class Picture {
  constructor(video, send, told) {
    this.video = video;
    this.send = send;
    this.told = told; // told(state) is called with what the page may show
    this.connection = null;
    this.closed = Promise.resolve(); // settles when the connection is closed
    this.sayClosed = () => {};
    this.timer = this.doubt = 0;
    this.reason = ""; // why earlier attempts failed
    this.beyondLoopback = false; // Firefox does not use loopback addresses, so the server is asked for others of its machine
  }

  watch(codec) {
    this.stop();
    if (codec !== this.codec) this.reason = "";
    this.codec = codec;
    if (!("RTCPeerConnection" in window)) return this.told("this browser has no WebRTC, or it is switched off");
    const known = RTCRtpReceiver.getCapabilities && RTCRtpReceiver.getCapabilities("video");
    if (known && !known.codecs.some((c) => c.mimeType.toLowerCase() === `video/${codec}`)) {
      return this.told(`this browser cannot decode ${codec === "h264" ? "H.264" : "VP8"}: choose the other codec`);
    }
    this.told(this.reason || "waiting for the picture");
    this.send({ type: "watch", codec, beyond_loopback: this.beyondLoopback });
  }

  stop() {
    clearTimeout(this.timer);
    clearTimeout(this.doubt);
    if (this.connection) this.connection.close();
    this.connection = null;
    this.sayClosed();
  }

  // Tries again a little later, with the same codec. Until that works the page shows the reason. `certain`: the reason is known and not
  // guessed.
  again(reason, certain = false) {
    if (this.connection && !this.ways.stood && !certain) reason = whyNoWay(this.ways);
    this.reason = reason || this.reason;
    this.told(this.reason ? `${this.reason}; trying again` : "trying again");
    this.stop();
    this.timer = setTimeout(() => this.watch(this.codec), 2000);
  }

  // Called a moment after both sides know each other's addresses: does the browser have a pair to try?
  look(connection) {
    if (this.connection !== connection || connection.iceConnectionState !== "new" || this.beyondLoopback) return;
    const addresses = [...this.ways.theirs.values()];
    if (!addresses.length || !addresses.every((address) => /^(127\.|::1$)/.test(address))) return;
    this.beyondLoopback = true;
    this.watch(this.codec);
  }

  async offered({ sdp, ice_servers: iceServers = [] }) {
    this.stop();
    const connection = (this.connection = new RTCPeerConnection({ iceServers }));
    this.closed = new Promise((resolve) => { this.sayClosed = resolve; });
    const ways = (this.ways = { ours: new Map(), theirs: new Map(), problems: [] });
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      this.send({ type: "candidate", mline: candidate.sdpMLineIndex, candidate: candidate.candidate });
      if (candidate.candidate) ways.ours.set(candidate.type, candidate.address);
    };
    connection.onicecandidateerror = ({ url, errorCode, errorText }) => {
      if (url && url.startsWith("turn")) ways.problems.push(`the TURN server ${url} says ${errorCode} ${errorText}`.trim());
    };
    connection.ontrack = ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      this.video.srcObject = new MediaStream([track]);
      this.video.play().catch(() => {});
    };
    connection.onconnectionstatechange = () => {
      if (this.connection !== connection) return;
      if (connection.connectionState === "connected") {
        clearTimeout(this.doubt);
        ways.stood = true;
        this.reason = "";
        this.told("");
      }
      if (connection.connectionState === "disconnected") this.told("the connection is interrupted");
      if (connection.connectionState === "failed") this.again("the connection failed");
    };
    this.doubt = setTimeout(() => {
      if (this.connection === connection && !ways.stood) this.told(whyNoWay(ways));
    }, patience);
    this.early = [];
    await connection.setRemoteDescription({ type: "offer", sdp });
    for (const candidate of this.early) this.candidate(candidate);
    this.early = null;
    await connection.setLocalDescription(await connection.createAnswer());
    this.send({ type: "answer", sdp: connection.localDescription.sdp });
    setTimeout(() => this.look(connection), 1500);
  }

  candidate(message) {
    if (!this.connection) return;
    const [, address, kind] = message.candidate.match(/^candidate:\S+ \S+ \S+ \S+ (\S+) \S+ typ (\w+)/) || [];
    if (kind) this.ways.theirs.set(kind, address);
    if (this.early && !this.connection.remoteDescription) {
      this.early.push(message);
      return;
    }
    this.connection.addIceCandidate({ candidate: message.candidate, sdpMLineIndex: message.mline }).catch(() => {});
  }

  // Some of WebRTC's figures, or null. Names are WebRTC's, except width, height and codec. Firefox never answers
  // for a connection that is closed meanwhile.
  async facts() {
    if (!this.connection) return null;
    const report = await Promise.race([this.connection.getStats(), this.closed]);
    if (!report) return null;
    for (const entry of report.values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") {
        const codec = report.get(entry.codecId);
        return {
          framesDecoded: entry.framesDecoded, framesPerSecond: entry.framesPerSecond, packetsLost: entry.packetsLost,
          framesDropped: entry.framesDropped, nackCount: entry.nackCount, pliCount: entry.pliCount, ssrc: entry.ssrc,
          retransmitted: entry.retransmittedPacketsReceived, keyFramesDecoded: entry.keyFramesDecoded, width: entry.frameWidth, height: entry.frameHeight,
          codec: codec ? codec.mimeType : "",
        };
      }
    }
    return null;
  }
}
