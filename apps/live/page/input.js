// SPDX-License-Identifier: LGPL-2.1-or-later
// The input that is repainted: its small picture, the strength, and this browser's camera, if the server takes one.
import { whyNoWay } from "./picture.js";

const $ = (id) => document.getElementById(id);
const pictureEvery = 1000; // milliseconds

// Sends a camera's picture: a WebRTC connection that the server offers.
class Camera {
  constructor(stream, send, ended) {
    this.stream = stream;
    this.send = send;
    this.ended = ended; // called once, with why
    this.ways = { ours: new Map(), theirs: new Map(), problems: [] };
    for (const track of stream.getTracks()) track.onended = () => this.stop("the camera was switched off");
  }

  async offered({ sdp, ice_servers: iceServers = [] }) {
    const connection = (this.connection = new RTCPeerConnection({ iceServers }));
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      this.send({ type: "candidate", of: "camera", mline: candidate.sdpMLineIndex, candidate: candidate.candidate });
      if (candidate.candidate) this.ways.ours.set(candidate.type, candidate.address);
    };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === "failed") this.stop(whyNoWay(this.ways));
    };
    await connection.setRemoteDescription({ type: "offer", sdp });
    const [transceiver] = connection.getTransceivers();
    transceiver.direction = "sendonly";
    await transceiver.sender.replaceTrack(this.stream.getVideoTracks()[0]);
    await connection.setLocalDescription(await connection.createAnswer());
    this.send({ type: "answer", of: "camera", sdp: connection.localDescription.sdp });
    for (const message of this.early || []) this.candidate(message);
    this.early = null;
  }

  candidate(message) {
    if (!this.connection || !this.connection.remoteDescription) {
      (this.early = this.early || []).push(message);
      return;
    }
    const [, address, kind] = message.candidate.match(/^candidate:\S+ \S+ \S+ \S+ (\S+) \S+ typ (\w+)/) || [];
    if (kind) this.ways.theirs.set(kind, address);
    this.connection.addIceCandidate({ candidate: message.candidate, sdpMLineIndex: message.mline }).catch(() => {});
  }

  stop(why = "") {
    if (!this.ended) return;
    for (const track of this.stream.getTracks()) track.stop();
    if (this.connection) this.connection.close();
    const ended = this.ended;
    this.ended = null;
    ended(why);
  }
}

export class InputPanel {
  // `ask(path)` fetches from the server, with the token; `beyondLoopback()` says whether this browser needs other addresses.
  constructor(send, notice, ask, beyondLoopback) {
    this.send = send;
    this.notice = notice;
    this.ask = ask;
    this.beyondLoopback = beyondLoopback;
    this.camera = null;
    this.held = this.timer = 0;
    this.told = -Infinity; // when this page was told why its camera is not shared any more
    $("strength").addEventListener("input", () => this.change($("strength").value));
    $("share").addEventListener("click", () => (this.camera ? this.camera.stop() : this.share()));
    setInterval(() => this.look(), pictureEvery);
  }

  // What the server's figures say of its input; undefined where it has none.
  show(input) {
    this.input = input;
    $("input").hidden = !input;
    if (!input) return;
    const shown = input.strength_shown;
    $("share").hidden = !input.takes_camera;
    $("share").textContent = this.camera ? "stop sharing" : "share my camera";
    $("share").disabled = input.camera && !this.camera;
    if (performance.now() > this.held && document.activeElement !== $("strength")) $("strength").value = input.strength;
    $("strength-value").textContent = Number($("strength").value).toFixed(2);
    $("strength-shown").textContent = !shown ? "" : input.state !== "flowing" ? "no input: the prompt alone"
      : `${shown.strength.toFixed(2)} since chunk ${shown.chunk}`;
    const size = input.width ? `, ${input.width}×${input.height}` : "";
    $("input-facts").textContent = `${input.from}: ${input.state}${size}`;
  }

  change(value) {
    this.held = performance.now() + 1500;
    $("strength-value").textContent = Number(value).toFixed(2);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send({ type: "settings", strength: Number(value) }), 80);
  }

  async share() {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, frameRate: { ideal: 30, max: 30 } } });
      this.camera = new Camera(stream, this.send, (why) => {
        this.camera = null;
        this.send({ type: "unshare" });
        $("share").textContent = "share my camera";
        if (!why) return;
        this.notice("warning", `your camera is not shared any more: ${why}`);
        this.told = performance.now();
      });
      $("share").textContent = "stop sharing";
      this.send({ type: "share", beyond_loopback: this.beyondLoopback() });
    } catch (error) {
      this.notice("error", navigator.mediaDevices ? `no camera: ${error.message}` : "browsers give a camera to pages of HTTPS and of this machine only");
    }
  }

  // Messages of the server about the camera.
  heard(message) {
    if (!this.camera) return;
    if (message.type === "offer") this.camera.offered(message).catch((error) => this.camera && this.camera.stop(error.message));
    else if (message.type === "candidate") this.camera.candidate(message);
    else if (message.type === "camera" && message.state === "failed") this.camera.stop(message.reason || "the connection failed");
  }

  // What the server tells everybody about that is no news here.
  knows() {
    return performance.now() - this.told < 1500;
  }

  // The server did not take it, or is gone.
  refused(why) {
    if (this.camera) this.camera.stop(why);
  }

  async look() {
    if (!this.input || document.hidden) return;
    const answer = this.input.state === "flowing" ? await this.ask("api/input.jpg").catch(() => null) : null;
    const old = $("input-picture").src;
    if (answer && answer.ok) $("input-picture").src = URL.createObjectURL(await answer.blob());
    $("input-picture").hidden = !answer || !answer.ok;
    if (old.startsWith("blob:")) URL.revokeObjectURL(old);
  }
}
