// SPDX-License-Identifier: LGPL-2.1-or-later
// The picture: a WebRTC connection that the server offers. send(message) and what the server says are all it needs.

export class Picture {
  constructor(video, send, told) {
    this.video = video;
    this.send = send;
    this.told = told; // told(state): what a person may want to know
    this.connection = null;
    this.timer = 0;
  }

  watch(codec) {
    this.stop();
    this.codec = codec;
    this.told("waiting for the picture");
    this.send({ type: "watch", codec });
  }

  stop() {
    clearTimeout(this.timer);
    if (this.connection) this.connection.close();
    this.connection = null;
  }

  // Again, a little later, with the same codec.
  again() {
    this.stop();
    this.timer = setTimeout(() => this.watch(this.codec), 2000);
  }

  async offered(sdp) {
    this.stop();
    const connection = (this.connection = new RTCPeerConnection());
    connection.onicecandidate = ({ candidate }) => {
      if (candidate) this.send({ type: "candidate", mline: candidate.sdpMLineIndex, candidate: candidate.candidate });
    };
    connection.ontrack = ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      this.video.srcObject = new MediaStream([track]);
      this.video.play().catch(() => {});
    };
    connection.onconnectionstatechange = () => {
      if (this.connection !== connection) return;
      if (connection.connectionState === "connected") this.told("");
      if (connection.connectionState === "disconnected") this.told("the connection is interrupted");
      if (connection.connectionState === "failed") {
        this.told("the connection failed; trying again");
        this.again();
      }
    };
    this.early = [];
    await connection.setRemoteDescription({ type: "offer", sdp });
    for (const candidate of this.early) this.candidate(candidate);
    this.early = null;
    await connection.setLocalDescription(await connection.createAnswer());
    this.send({ type: "answer", sdp: connection.localDescription.sdp });
  }

  candidate(message) {
    if (!this.connection) return;
    if (this.early && !this.connection.remoteDescription) {
      this.early.push(message);
      return;
    }
    this.connection.addIceCandidate({ candidate: message.candidate, sdpMLineIndex: message.mline }).catch(() => {});
  }

  // Of WebRTC's figures, with its names but for width, height and codec; or null.
  async facts() {
    if (!this.connection) return null;
    const report = await this.connection.getStats();
    for (const entry of report.values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") {
        const codec = report.get(entry.codecId);
        return {
          framesDecoded: entry.framesDecoded, framesPerSecond: entry.framesPerSecond, packetsLost: entry.packetsLost,
          framesDropped: entry.framesDropped, nackCount: entry.nackCount, ssrc: entry.ssrc,
          retransmitted: entry.retransmittedPacketsReceived, keyFramesDecoded: entry.keyFramesDecoded, width: entry.frameWidth, height: entry.frameHeight,
          codec: codec ? codec.mimeType : "",
        };
      }
    }
    return null;
  }
}
